import { Option, type Command } from 'commander';
import { DEFAULT_TTL } from '../../contract/connection.ts';
import { TENANT_STATES, TIERS } from '../../contract/tenant.ts';
import { collect, collectPair, isWatching, parseCount, WATCH_HELP, type WatchFlags } from '../globals.ts';
import type { OpenSession } from '../session.ts';
import { connectTenant, disconnectTenant, type ConnectFlags } from './tenant-connect.ts';
import {
  createTenant,
  deleteTenant,
  destroyKey,
  getTenant,
  keepKey,
  listTenants,
  resumeTenant,
  suspendTenant,
  updateTenant,
  watchTenant,
  type CreateFlags,
  type ListFlags,
  type UpdateFlags,
} from './tenant-actions.ts';

export function addTenantCommands(program: Command, open: OpenSession): void {
  const tenant = program.command('tenant').description('customers, each with a database of its own');
  addCreate(tenant, open);
  addList(tenant, open);
  tenant
    .command('get <name>')
    .description('show a tenant, where it is placed and why')
    .option('-w, --watch', WATCH_HELP)
    .option('--include-deleted', 'the tenant that bore the name last, if none does now')
    .action(async (name: string, flags: WatchFlags & { includeDeleted?: boolean }) => {
      const session = open();
      if (isWatching(session, flags)) await watchTenant(session, name);
      else await getTenant(session, name, flags.includeDeleted);
    });
  addUpdate(tenant, open);
  tenant
    .command('suspend <name>')
    .description('stop serving a tenant; its data stays')
    .option('--reason <text>', 'why, for the audit log')
    .action(
      async (name: string, flags: { reason?: string }) => await suspendTenant(open(), name, flags.reason),
    );
  tenant
    .command('resume <name>')
    .description('serve a suspended tenant again')
    .action(async (name: string) => await resumeTenant(open(), name));
  tenant
    .command('delete <name>')
    .description('delete a tenant with its database, credentials and key; wants --confirm NAME')
    .action(async (name: string) => await deleteTenant(open(), name));
  addKey(tenant, open);
  addConnect(tenant, open);
}

function addConnect(tenant: Command, open: OpenSession): void {
  tenant
    .command('connect <name>')
    .description('open a read-only login to its database for some minutes, and say how psql uses it')
    .requiredOption('--reason <text>', 'why, for the audit log')
    .option('--ttl <duration>', 'how long it lasts: from 1m to 8h', DEFAULT_TTL)
    .option('--exec', 'start psql with it, and close it when psql ends')
    .action(async (name: string, flags: ConnectFlags) => await connectTenant(open(), name, flags));
  tenant
    .command('disconnect <name> [id]')
    .description('close read-only logins before their time, with their sessions: all, or that one')
    .action(async (name: string, id?: string) => await disconnectTenant(open(), name, id));
}

function addKey(tenant: Command, open: OpenSession): void {
  tenant
    .command('keep-key <name>')
    .description('keep the key of a deleted tenant, for what is still sealed under it; until it is destroyed')
    .option('--reason <text>', 'why, for the audit log')
    .action(async (name: string, flags: { reason?: string }) => await keepKey(open(), name, flags.reason));
  tenant
    .command('destroy-key <name>')
    .description('have a key that was kept destroyed after all; wants --confirm NAME')
    .option('--reason <text>', 'why, for the audit log')
    .action(async (name: string, flags: { reason?: string }) => await destroyKey(open(), name, flags.reason));
}

function addCreate(tenant: Command, open: OpenSession): void {
  tenant
    .command('create <name>')
    .description('create a tenant with its own database and credentials')
    .requiredOption('--region <region>', 'where its data lives')
    .addOption(new Option('--tier <tier>', 'service class').choices(TIERS).default('standard'))
    .option('--display-name <text>', 'name for people')
    .option('--label <key=value>', 'label; may be repeated', collectPair)
    .option('--contact <text>', 'whom to ask at the customer')
    .option('--crm-ref <text>', 'reference in the CRM')
    .option('--domain <host>', 'custom domain; may be repeated', collect)
    .action(async (name: string, flags: CreateFlags) => await createTenant(open(), name, flags));
}

function addList(tenant: Command, open: OpenSession): void {
  tenant
    .command('list')
    .description('list tenants')
    .option('--region <region>', 'only of this region')
    .addOption(new Option('--tier <tier>', 'only of this tier').choices(TIERS))
    .addOption(new Option('--state <state>', 'only in this state').choices(TENANT_STATES))
    .option('--server <server>', 'only on this server')
    .option('--schema-version <migration>', 'only at this migration')
    .option('--label <key=value>', 'only with this label; may be repeated', collect)
    .option('--search <text>', 'slug, name, contact or CRM reference contains this')
    .option('--include-deleted', 'deleted tenants too')
    .addOption(new Option('--sort <field>', 'order').choices(['slug', '-slug', 'createdAt', '-createdAt']))
    .option('--limit <count>', 'at most this many', parseCount)
    .action(async (flags: ListFlags) => await listTenants(open(), flags));
}

function addUpdate(tenant: Command, open: OpenSession): void {
  tenant
    .command('update <name>')
    .description('change what a tenant is called, its labels, contact or domains')
    .option('--display-name <text>', 'name for people')
    .option('--label <key=value>', 'set a label; may be repeated', collectPair)
    .option('--remove-label <key>', 'remove a label; may be repeated', collect)
    .option('--contact <text>', 'whom to ask at the customer; "" removes it')
    .option('--crm-ref <text>', 'reference in the CRM; "" removes it')
    .option('--domain <host>', 'custom domains from now on; may be repeated', collect)
    .option('--no-domains', 'remove all custom domains')
    .action(async (name: string, flags: UpdateFlags) => await updateTenant(open(), name, flags));
}
