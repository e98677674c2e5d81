import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Tenant } from '../../contract/tenant.ts';
import type { Asker } from '../access/caller.ts';
import { auditAsked } from '../audit/audit.ts';
import { startOperation, type StartOperation } from '../operations/operation.ts';
import type { Transaction } from '../registry/registry.ts';
import { findLiveDatabase } from '../servers/database-store.ts';
import { moveTenant } from './store.ts';
import { requireTransition, tenantSubject, type TenantEvent } from './tenant.ts';

/** What suspend, resume and delete know of their tenant. */
export const LifecycleInput = z.object({
  tenantId: z.uuid(),
  slug: z.string(),
  /** Null when the tenant never came to have one, or has it no more. */
  database: z.object({ id: z.uuid(), serverId: z.uuid() }).nullable(),
});
export type LifecycleInput = z.infer<typeof LifecycleInput>;

export interface LifecycleChange {
  definition: StartOperation['definition'];
  /** What happens to the tenant at once, before the first step; absent when the last step moves it. */
  event?: TenantEvent;
}

/**
 * Starts an operation on a tenant and moves the tenant to the state that holds while it runs, with one audit
 * entry, in the request's transaction. Returns the operation's id.
 * @throws FleetError 409 `wrong_state`, `operation_in_progress`
 */
export async function startLifecycle(
  tx: Transaction,
  tenant: Tenant,
  change: LifecycleChange,
  asker: Asker,
): Promise<string> {
  const { caller, requestId, reason } = asker;
  const state = change.event === undefined ? tenant.state : requireTransition(tenant, change.event);
  const id = randomUUID();
  const database = await findLiveDatabase(tx, tenant.id);
  const input: LifecycleInput = {
    tenantId: tenant.id,
    slug: tenant.slug,
    database: database === undefined ? null : { id: database.id, serverId: database.serverId },
  };
  await startOperation(tx, {
    id,
    definition: change.definition,
    subject: tenantSubject(tenant.id),
    subjectName: tenant.slug,
    region: tenant.region,
    input,
    caller,
    requestId,
  });
  if (change.event !== undefined) {
    const cause = reason === undefined ? null : { code: 'asked', message: reason };
    await moveTenant(tx, tenant.id, tenant.state, change.event, cause);
  }
  auditAsked(tx, asker, {
    action: change.definition.kind,
    resource: `tenant:${tenant.slug}`,
    region: tenant.region,
    before: { id: tenant.id, state: tenant.state },
    after: { id: tenant.id, state, operation: id },
  });
  return id;
}
