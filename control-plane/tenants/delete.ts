import { FleetError } from '../../platform/errors.ts';
import type { Asker } from '../access/caller.ts';
import type { OperationDefinition, StepContext } from '../operations/definition.ts';
import type { Transaction } from '../registry/registry.ts';
import { markDatabaseDropped } from '../servers/database-store.ts';
import { removeOwnServer } from '../servers/own.ts';
import { findServer } from '../servers/store.ts';
import { databaseNames } from '../servers/database.ts';
import { tenantToChange } from './admit.ts';
import type { TenantDeps } from './deps.ts';
import { LifecycleInput, startLifecycle } from './lifecycle.ts';
import { closeDatabase, dropDatabase } from './physical-database.ts';
import { dropRoles } from './roles.ts';
import { moveTenant, removeDomains } from './store.ts';
import { tenantSubject } from './tenant.ts';

type Context = StepContext<LifecycleInput>;

/** Forward only: what is dropped cannot be brought back, so a failure is retried until nothing is left. */
export const deleteTenant: OperationDefinition<LifecycleInput, TenantDeps> = {
  kind: 'tenant.delete',
  input: LifecycleInput,
  cancellable: false,
  steps: [
    { name: 'server', do: removeServer },
    { name: 'drain', do: drain },
    { name: 'database', do: removeDatabase },
    { name: 'roles', do: removeRoles },
    { name: 'secrets', do: destroySecrets },
    { name: 'finish', do: finish },
  ],
};

/**
 * Takes the tenant off the routes at once and starts to remove it. `confirm` must be its slug.
 * @throws FleetError 422 `confirmation_required`, 409 `wrong_state`
 */
export async function startDeleteTenant(
  tx: Transaction,
  slugOrId: string,
  confirm: string | undefined,
  asker: Asker,
): Promise<{ operationId: string; tenantId: string }> {
  const tenant = await tenantToChange(tx, slugOrId, asker);
  if (confirm !== tenant.slug) {
    throw new FleetError({
      code: 'confirmation_required',
      status: 422,
      message: `deleting ${tenant.slug} destroys its data: confirm with its name`,
      fix: `fleet tenant delete ${tenant.slug} --confirm ${tenant.slug}`,
    });
  }
  const operationId = await startLifecycle(
    tx,
    tenant,
    { definition: deleteTenant, event: 'offboard' },
    asker,
  );
  return { operationId, tenantId: tenant.id };
}

/** A server of the tenant's own goes as it is, so that its final snapshot holds the database. */
async function removeServer(context: Context, deps: TenantDeps): Promise<void> {
  const { database, tenantId } = context.input;
  if (database !== null) await removeOwnServer(context, deps, { tenantId, serverId: database.serverId });
}

async function drain(context: Context, deps: TenantDeps): Promise<void> {
  await onServer(context, deps, (admin, names) => closeDatabase(admin, names.name));
}

async function removeDatabase(context: Context, deps: TenantDeps): Promise<void> {
  await onServer(context, deps, (admin, names) => dropDatabase(admin, names.name));
}

async function removeRoles(context: Context, deps: TenantDeps): Promise<void> {
  await onServer(context, deps, dropRoles);
}

async function onServer(
  { input, signal }: Context,
  deps: TenantDeps,
  work: (admin: Parameters<typeof dropRoles>[0], names: Parameters<typeof dropRoles>[1]) => Promise<void>,
): Promise<void> {
  const { database } = input;
  if (database === null) return;
  signal.throwIfAborted();
  // It was the tenant's own, and is gone with all that was on it.
  if ((await findServer(deps.registry, database.serverId))?.state === 'retired') return;
  await deps.servers.admin(database.serverId, (admin) => work(admin, databaseNames(database.id)));
}

/** Its credentials are gone at once; its key opens nothing any more, and is destroyed when its retention is over. */
async function destroySecrets({ input, transaction }: Context, deps: TenantDeps): Promise<void> {
  await transaction((tx) => deps.secrets.shredOwner(tx, tenantSubject(input.tenantId), input.slug));
}

async function finish({ input, transaction }: Context): Promise<void> {
  await transaction(async (tx) => {
    if (input.database !== null) await markDatabaseDropped(tx, input.database.id);
    await removeDomains(tx, input.tenantId);
    await moveTenant(tx, input.tenantId, 'offboarding', 'delete');
  });
}
