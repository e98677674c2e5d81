import type { OperationDefinition, StepContext } from '../operations/definition.ts';
import { databaseNames } from '../servers/database.ts';
import type { TenantDeps } from './deps.ts';
import { LifecycleInput, startLifecycle } from './lifecycle.ts';
import { tenantToChange, type Request } from './request.ts';
import { closeLogins } from './roles.ts';

/** The tenant is not served any more, from the request on; the step locks the database as well. */
export const suspendTenant: OperationDefinition<LifecycleInput, TenantDeps> = {
  kind: 'tenant.suspend',
  input: LifecycleInput,
  cancellable: false,
  steps: [{ name: 'logins', do: lockOut }],
};

/** @throws FleetError 409 `wrong_state` unless the tenant is active */
export async function startSuspendTenant(
  request: Request,
  slugOrId: string,
  reason: string | undefined,
): Promise<string> {
  const tenant = await tenantToChange(request, slugOrId);
  return startLifecycle(request, tenant, { definition: suspendTenant, event: 'suspend', reason });
}

async function lockOut({ input, signal }: StepContext<LifecycleInput>, deps: TenantDeps): Promise<void> {
  const { database } = input;
  if (database === null) return;
  signal.throwIfAborted();
  await deps.servers.admin(database.serverId, (admin) => closeLogins(admin, databaseNames(database.id)));
}
