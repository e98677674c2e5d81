import type { Asker } from '../access/caller.ts';
import type { OperationDefinition, StepContext } from '../operations/definition.ts';
import type { Transaction } from '../registry/registry.ts';
import { stopOwnServer } from '../servers/own.ts';
import { databaseNames } from '../servers/database.ts';
import { tenantToChange } from './admit.ts';
import type { TenantDeps } from './deps.ts';
import { LifecycleInput, startLifecycle } from './lifecycle.ts';
import { closeLogins } from './roles.ts';

/** The tenant is not served any more, from the request on; the step locks the database as well. */
export const suspendTenant: OperationDefinition<LifecycleInput, TenantDeps> = {
  kind: 'tenant.suspend',
  input: LifecycleInput,
  cancellable: false,
  steps: [
    { name: 'logins', do: lockOut },
    { name: 'server', do: stopServer },
  ],
};

/** @throws FleetError 409 `wrong_state` unless the tenant is active */
export async function startSuspendTenant(tx: Transaction, slugOrId: string, asker: Asker): Promise<string> {
  const tenant = await tenantToChange(tx, slugOrId, asker);
  return startLifecycle(tx, tenant, { definition: suspendTenant, event: 'suspend' }, asker);
}

async function lockOut({ input, signal }: StepContext<LifecycleInput>, deps: TenantDeps): Promise<void> {
  const { database } = input;
  if (database === null) return;
  signal.throwIfAborted();
  await deps.servers.admin(database.serverId, (admin) => closeLogins(admin, databaseNames(database.id)));
}

/** A server that serves nobody costs nothing but its storage. */
async function stopServer(context: StepContext<LifecycleInput>, deps: TenantDeps): Promise<void> {
  const { database, tenantId } = context.input;
  if (database !== null) await stopOwnServer(context, deps, { tenantId, serverId: database.serverId });
}
