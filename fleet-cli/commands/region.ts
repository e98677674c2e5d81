import type { Command } from 'commander';
import { CreateRegion, Region } from '../../contract/server.ts';
import { AnyBody, change } from '../change.ts';
import { path } from '../client.ts';
import { parseCount } from '../globals.ts';
import { regionView } from '../output/fleet-views.ts';
import { checkInput, type OpenSession, type Session } from '../session.ts';

interface CreateFlags {
  jurisdiction: string;
  domain: string;
  appUrl?: string;
}

export function addRegionCommands(program: Command, open: OpenSession): void {
  const region = program.command('region').description('places with a jurisdiction, where data stays');
  region
    .command('list')
    .description('list regions')
    .option('--limit <count>', 'at most this many', parseCount)
    .action(async (flags: { limit?: number }) => await list(open(), flags.limit));
  region
    .command('get <name>')
    .description('show a region')
    .action(async (name: string) => await get(open(), name));
  region
    .command('create <name>')
    .description('add a region')
    .requiredOption('--jurisdiction <text>', 'whose law its data is under, e.g. EU')
    .requiredOption('--domain <host>', "its tenants' hosts end with this")
    .option('--app-url <url>', 'public URL of its tenant app')
    .action(async (name: string, flags: CreateFlags) => await create(open(), name, flags));
}

async function list({ client, out }: Session, limit?: number): Promise<void> {
  out.list(await client().list('/api/v1/regions', Region, {}, limit), regionView);
}

async function get({ client, out }: Session, name: string): Promise<void> {
  out.one((await client().get(path`/api/v1/regions/${name}`, Region)).body, regionView);
}

async function create(session: Session, name: string, flags: CreateFlags): Promise<void> {
  const body = checkInput(CreateRegion, { name, ...flags }, `region ${name}`);
  const reply = await change(session, { method: 'POST', path: '/api/v1/regions', body }, AnyBody);
  if (reply !== undefined) await get(session, name);
}
