import { z } from 'zod';
import { FleetError } from '../../platform/errors.ts';
import type { Asker } from '../access/caller.ts';
import type { OperationDefinition, StepContext } from '../operations/definition.ts';
import type { Transaction } from '../registry/registry.ts';
import { databaseSubject } from '../secrets/secret.ts';
import { findStaged } from '../secrets/store.ts';
import { findDatabase, setSchemaVersions } from '../servers/database-store.ts';
import { startOwnServer, stopOwnServer } from '../servers/own.ts';
import { databaseNames, type DatabaseRecord } from '../servers/database.ts';
import { tenantToChange } from './admit.ts';
import { joinFleet } from './catch-up.ts';
import type { TenantDeps } from './deps.ts';
import { LifecycleInput, startLifecycle } from './lifecycle.ts';
import { closeLogins, openLogin } from './roles.ts';
import { moveTenant } from './store.ts';
import { requireTransition } from './tenant.ts';

type Context = StepContext<LifecycleInput>;

/** Rollouts pass suspended tenants by, so this one first takes what it has missed. Failed: still suspended. */
export const resumeTenant: OperationDefinition<LifecycleInput, TenantDeps> = {
  kind: 'tenant.resume',
  input: LifecycleInput,
  cancellable: true,
  steps: [
    { name: 'server', do: startServer, undo: stopServer },
    { name: 'migrate', do: migrate },
    { name: 'logins', do: letIn, undo: lockOut },
    { name: 'activate', do: activate, undo: suspendAgain },
  ],
};

/** @throws FleetError 409 `wrong_state` unless the tenant is suspended */
export async function startResumeTenant(tx: Transaction, slugOrId: string, asker: Asker): Promise<string> {
  const tenant = await tenantToChange(tx, slugOrId, asker);
  requireTransition(tenant, 'resume');
  return startLifecycle(tx, tenant, { definition: resumeTenant }, asker);
}

async function startServer(context: Context, deps: TenantDeps): Promise<void> {
  const { database, tenantId } = context.input;
  if (database !== null) await startOwnServer(context, deps, { tenantId, serverId: database.serverId });
}

async function stopServer(context: Context, deps: TenantDeps): Promise<void> {
  const { database, tenantId } = context.input;
  if (database !== null) await stopOwnServer(context, deps, { tenantId, serverId: database.serverId });
}

const Migrated = z.object({ schemaVersion: z.string().nullable() });

async function migrate(context: Context, deps: TenantDeps): Promise<z.infer<typeof Migrated>> {
  const database = await databaseOf(context, deps);
  const schemaVersion = await joinFleet(context, deps, database, database.schemaVersion, (tx, version) =>
    setSchemaVersions(tx, [{ databaseId: database.id, schemaVersion: version }]),
  );
  return { schemaVersion };
}

async function letIn(context: Context, deps: TenantDeps): Promise<void> {
  const { id, serverId } = await databaseOf(context, deps);
  const credential = await findStaged(deps.registry, databaseSubject(id), 'current');
  if (credential === undefined) {
    throw new FleetError({
      code: 'secret_not_found',
      status: 409,
      message: `${context.input.slug} has no current credential`,
      fix: `fleet secret get ${context.input.slug}`,
    });
  }
  context.signal.throwIfAborted();
  await deps.servers.admin(serverId, (admin) => openLogin(admin, credential.login));
}

async function lockOut(context: Context, deps: TenantDeps): Promise<void> {
  const { id, serverId } = await databaseOf(context, deps);
  await deps.servers.admin(serverId, (admin) => closeLogins(admin, databaseNames(id)));
}

async function activate(context: Context, deps: TenantDeps): Promise<void> {
  const database = await databaseOf(context, deps);
  const { schemaVersion } = context.output('migrate', Migrated);
  await joinFleet(context, deps, database, schemaVersion, async (tx, version) => {
    await setSchemaVersions(tx, [{ databaseId: database.id, schemaVersion: version }]);
    await moveTenant(tx, context.input.tenantId, 'suspended', 'resume');
  });
}

/** Only for a cancel that came when the tenant was active but the step not yet stored as done. */
async function suspendAgain(context: Context): Promise<void> {
  await context.transaction((tx) => moveTenant(tx, context.input.tenantId, 'active', 'suspend'));
}

async function databaseOf(context: Context, deps: TenantDeps): Promise<DatabaseRecord> {
  const id = context.input.database?.id;
  const found = id === undefined ? undefined : await findDatabase(deps.registry, id);
  if (found?.state === 'ready') return found;
  throw new FleetError({
    code: 'database_not_ready',
    status: 409,
    message: `${context.input.slug} has no database that could be opened`,
    fix: `fleet tenant get ${context.input.slug}`,
  });
}
