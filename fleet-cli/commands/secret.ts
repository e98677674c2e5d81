import type { Command } from 'commander';
import { z } from 'zod';
import { SecretRotation, SecretVersion } from '../../contract/secret.ts';
import { change, settle } from '../change.ts';
import { path } from '../client.ts';
import { confirmYes } from '../confirm.ts';
import { parseCount } from '../globals.ts';
import { secretView } from '../output/fleet-views.ts';
import type { OpenSession, Session } from '../session.ts';

interface ListFlags {
  region?: string;
  name?: string;
  olderThan?: string;
  limit?: number;
}

export function addSecretCommands(program: Command, open: OpenSession): void {
  const secret = program
    .command('secret')
    .description('versions of credentials; their values are never shown');
  secret
    .command('list')
    .description('list secret versions and their stages')
    .option('--region <region>', 'only of this region')
    .option('--name <name>', 'only of this tenant or server')
    .option(
      '--older-than <duration>',
      'only credentials in use that were not rotated for this long, e.g. 90d',
    )
    .option('--limit <count>', 'at most this many', parseCount)
    .action(async (flags: ListFlags) => await list(open(), flags));
  secret
    .command('get <name>')
    .description('show the versions of a tenant or server')
    .action(async (name: string) => await get(open(), name));
  secret
    .command('rotate <name>')
    .description("give a tenant's database a new credential; no request fails")
    .option('--now', 'it has leaked: close the old login at once, with its sessions')
    .option('--reason <text>', 'why, for the audit log')
    .action(async (name: string, flags: RotateFlags) => await rotate(open(), name, flags));
}

interface RotateFlags {
  now?: boolean;
  reason?: string;
}

async function rotate(session: Session, name: string, { now, reason }: RotateFlags): Promise<void> {
  if (now === true)
    await confirmYes(session, `Close the present login of ${name} at once, with its sessions?`);
  const request = {
    method: 'POST' as const,
    path: path`/api/v1/secrets/${name}/rotate`,
    body: { ...(now === undefined ? {} : { now }), ...(reason === undefined ? {} : { reason }) },
  };
  const reply = await change(session, request, SecretRotation);
  if (reply?.body.joined === true) session.out.note(`${name} is being rotated already: this waits for that`);
  await settle(session, reply, async () => await get(session, name));
}

async function list({ client, out }: Session, { limit, ...filter }: ListFlags): Promise<void> {
  out.list(await client().list('/api/v1/secrets', SecretVersion, filter, limit), secretView);
}

async function get({ client, out }: Session, name: string): Promise<void> {
  const { body } = await client().get(
    path`/api/v1/secrets/${name}`,
    z.object({ items: z.array(SecretVersion) }),
  );
  out.list(body.items, secretView);
}
