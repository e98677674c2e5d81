import { Option, type Command } from 'commander';
import { SERVER_STATES } from '../../contract/server.ts';
import { parseCount } from '../globals.ts';
import type { OpenSession } from '../session.ts';
import {
  addServer,
  createServer,
  getServer,
  listServers,
  modifyServer,
  removeServer,
  setCordon,
  snapshotServer,
  type AddFlags,
  type CreateFlags,
  type InstanceFlags,
  type ListFlags,
} from './server-actions.ts';

export function addServerCommands(program: Command, open: OpenSession): void {
  const server = program.command('server').description("PostgreSQL servers that hold tenants' databases");
  server
    .command('list')
    .description('list servers with their room and health')
    .option('--region <region>', 'only of this region')
    .addOption(new Option('--state <state>', 'only in this state').choices(SERVER_STATES))
    .option('--limit <count>', 'at most this many', parseCount)
    .action(async (flags: ListFlags) => await listServers(open(), flags));
  server
    .command('get <name>')
    .description('show a server')
    .action(async (name: string) => await getServer(open(), name));
  addMaking(server, open);
  server
    .command('cordon <name>')
    .description('place no new databases on it')
    .action(async (name: string) => await setCordon(open(), name, 'cordon'));
  server
    .command('uncordon <name>')
    .description('place databases on it again')
    .action(async (name: string) => await setCordon(open(), name, 'uncordon'));
  server
    .command('remove <name>')
    .description(
      'take an empty server out of the fleet, and one that the fleet has made on RDS out of RDS; wants --confirm NAME',
    )
    .action(async (name: string) => await removeServer(open(), name));
  const modify = server
    .command('modify <name>')
    .description('change the instance on RDS that a server is, at once; mostly it is away for a minute');
  changeable(modify).action(
    async (name: string, flags: InstanceFlags) => await modifyServer(open(), name, flags),
  );
  server
    .command('snapshot <name>')
    .description('take a snapshot of a whole server on RDS')
    .action(async (name: string) => await snapshotServer(open(), name));
}

function addMaking(server: Command, open: OpenSession): void {
  const add = server
    .command('add <name>')
    .description("register a PostgreSQL server that exists; the admin's URL comes from a file or stdin")
    .requiredOption('--region <region>', 'where it stands')
    .option('--url-file <file>', 'file with postgres://ADMIN:PASSWORD@HOST:PORT/DATABASE')
    .option('--instance <id>', 'it is this instance on RDS, which has the tag fleet:region')
    .option('--url-stdin', 'read that URL from standard input')
    .addOption(new Option('--url <url>', 'refused: other users see the arguments of a process').hideHelp());
  limits(add).action(async (name: string, flags: AddFlags) => await addServer(open(), name, flags));
  const create = server
    .command('create <name>')
    .description('make a new server with a provider')
    .requiredOption('--region <region>', 'where it shall stand')
    .addOption(
      new Option('--provider <provider>', 'who makes it').choices(['embedded', 'rds']).default('embedded'),
    );
  instance(limits(create)).action(
    async (name: string, flags: CreateFlags) => await createServer(open(), name, flags),
  );
}

/** What RDS is asked for; the region's site has the rest. */
function instance(command: Command): Command {
  return changeable(command).option('--kms-key <arn>', "rds: another KMS key than the region's");
}

function changeable(command: Command): Command {
  return command
    .option('--class <class>', 'rds: class of the instance, as in db.r7g.large')
    .option('--storage <gib>', 'rds: storage in GiB; it grows by itself to four times that', parseCount)
    .option('--engine-version <version>', 'rds: version of PostgreSQL, as in 18')
    .option('--backup-days <days>', 'rds: how far back it can be restored to', parseCount)
    .option('--multi-az', 'rds: with a standby in another zone, which is the default')
    .option('--no-multi-az', 'rds: without a standby in another zone')
    .option('--deletion-protection', 'rds: RDS refuses to delete it, which is the default')
    .option('--no-deletion-protection', 'rds: RDS need not refuse to delete it');
}

function limits(command: Command): Command {
  return command
    .addOption(new Option('--mode <mode>', 'many tenants, or one').choices(['shared', 'dedicated']))
    .option(
      '--max-databases <count>',
      'room for this many databases; a dedicated server holds one',
      parseCount,
    )
    .option(
      '--max-connections <count>',
      "room for this many connections, at most PostgreSQL's own on a server that is made",
      parseCount,
    );
}
