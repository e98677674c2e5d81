import type { Command } from 'commander';
import { z } from 'zod';
import { SecretRotation, SecretVersion, ServerRotation } from '../../contract/secret.ts';
import { AnyBody, change, settle } from '../change.ts';
import { path } from '../client.ts';
import { confirmYes } from '../confirm.ts';
import { usageError } from '../errors.ts';
import { collect, parseCount } from '../globals.ts';
import { secretView } from '../output/fleet-views.ts';
import type { OpenSession, Session } from '../session.ts';
import { collectWhere } from '../where.ts';
import { rotateMany, type RunFlags } from './rotation-run.ts';

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
    .command('rotate [name]')
    .description('give the databases of a tenant, or of many, new credentials; no request fails')
    .option('--where <key=value>', 'those where region=, tier=, server= or label.KEY= is so', collectWhere)
    .option('--tenant <tenant>', 'only this tenant of them; may be repeated', collect)
    .option('--all', 'every tenant of the fleet')
    .option('--server <name>', 'instead: the admin and the migrators of this server')
    .option('--master-key', 'instead: what wraps the data keys; no credential changes')
    .option('--prepare', 'with --master-key: only make it, to copy master.key to other machines first')
    .option('--parallel <count>', 'tenants in work at a time (default: 2)', parseCount)
    .option('--per-server <count>', 'of these on one server (default: 4)', parseCount)
    .option('--now', 'they have leaked: close the old logins at once, with their sessions')
    .option('--reason <text>', 'why, for the audit log')
    .action(async (name: string | undefined, flags: RotateFlags) => await rotate(open(), name, flags));
}

interface RotateFlags extends RunFlags {
  server?: string;
  masterKey?: boolean;
  prepare?: boolean;
}

/** One tenant by its name, or a selection; which of them must be said, and one of them only. */
async function rotate(session: Session, name: string | undefined, flags: RotateFlags): Promise<void> {
  const { where, tenant, all, parallel, perServer, server, ...rest } = flags;
  if (flags.masterKey !== undefined || flags.prepare !== undefined)
    return await rotateMasterKey(session, { ...flags, name });
  if (server !== undefined) return await rotateServer(session, server, { ...flags, name });
  const some = where !== undefined || tenant !== undefined;
  const selected = some || all === true;
  if (name === undefined && some !== (all === true)) return await rotateMany(session, flags);
  const tuned = parallel !== undefined || perServer !== undefined;
  if (name !== undefined && !selected && !tuned) return await rotateOne(session, name, rest);
  throw usageError(
    'it is not clear what to rotate',
    'name one tenant, or select some with --where or --tenant, or all with --all',
  );
}

/** What says which tenants says nothing of a server. */
async function rotateServer(
  session: Session,
  server: string,
  { server: _server, reason, ...others }: RotateFlags & { name: string | undefined },
): Promise<void> {
  if (Object.values(others).some((value) => value !== undefined)) {
    throw usageError('--server stands alone, or with --reason', `fleet secret rotate --server ${server}`);
  }
  const request = {
    method: 'POST' as const,
    path: path`/api/v1/servers/${server}/rotate`,
    body: reason === undefined ? {} : { reason },
  };
  const reply = await change(session, request, ServerRotation);
  if (reply?.body.joined === true)
    session.out.note(`${server} is being rotated already: this waits for that`);
  await settle(session, reply, async () => await get(session, server));
}

/** What says which tenants says nothing of the fleet's own key. */
async function rotateMasterKey(
  session: Session,
  { masterKey, prepare, reason, ...others }: RotateFlags & { name: string | undefined },
): Promise<void> {
  if (masterKey !== true || Object.values(others).some((value) => value !== undefined)) {
    throw usageError(
      '--master-key stands alone, or with --prepare and --reason',
      'fleet secret rotate --master-key',
    );
  }
  const request = {
    method: 'POST' as const,
    path: '/api/v1/master-key/rotate',
    body: { ...(prepare === undefined ? {} : { prepare }), ...(reason === undefined ? {} : { reason }) },
  };
  const reply = await change(session, request, AnyBody);
  const done =
    prepare === true
      ? 'the next key stands in master.key beside the present one: copy the file, then fleet secret rotate --master-key'
      : 'the old master key is gone from master.key, and opens nothing of this registry any more';
  await settle(session, reply, () => Promise.resolve(session.out.note(done)));
}

async function rotateOne(
  session: Session,
  name: string,
  { now, reason }: Pick<RunFlags, 'now' | 'reason'>,
): Promise<void> {
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
