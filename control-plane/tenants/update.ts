import { Labels, type Tenant, type TenantState, type UpdateTenant } from '../../contract/tenant.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Asker } from '../access/caller.ts';
import { auditAsked } from '../audit/audit.ts';
import { wrongState } from '../http/conflict.ts';
import type { Transaction } from '../registry/registry.ts';
import { tenantToChange } from './admit.ts';
import { claimDomains } from './domains.ts';
import { findTenant, saveTenant } from './store.ts';
import { tenantNotFound } from './tenant.ts';

/**
 * Changes what a person may change of a tenant; a label of null is removed. Returns the tenant as it is now.
 * @throws FleetError 412 `version_conflict`, 409 `wrong_state`, `domain_taken`, 422 `invalid_label`, `domain_reserved`
 */
export async function updateTenant(
  tx: Transaction,
  slugOrId: string,
  change: UpdateTenant,
  asker: Asker,
): Promise<Tenant> {
  const before = await tenantToChange(tx, slugOrId, asker);
  requireEditable(before);
  await saveTenant(tx, {
    id: before.id,
    name: change.name ?? before.name,
    labels: changedLabels(before.labels, change.labels ?? {}),
    contact: change.contact === undefined ? before.contact : change.contact,
    crmRef: change.crmRef === undefined ? before.crmRef : change.crmRef,
  });
  if (change.domains !== undefined) await claimDomains(tx, before.id, change.domains);
  const after = await findTenant(tx, before.id);
  if (after === undefined) throw tenantNotFound(slugOrId);
  auditAsked(tx, asker, {
    action: 'tenant.update',
    resource: `tenant:${before.slug}`,
    region: before.region,
    before: editable(before),
    after: editable(after),
  });
  return after;
}

const EDITABLE: TenantState[] = ['provisioning', 'active', 'suspended', 'moving', 'failed'];

function requireEditable(tenant: Tenant): void {
  if (EDITABLE.includes(tenant.state)) return;
  throw wrongState({ noun: 'tenant', name: tenant.slug, state: tenant.state }, 'update', EDITABLE);
}

function changedLabels(
  labels: Record<string, string>,
  change: Record<string, string | null>,
): Record<string, string> {
  const merged = Object.entries({ ...labels, ...change }).filter(([, value]) => value !== null);
  const checked = Labels.safeParse(Object.fromEntries(merged));
  if (checked.success) return checked.data;
  throw new FleetError({
    code: 'invalid_label',
    status: 422,
    message: 'a label cannot be stored',
    errors: checked.error.issues.map((issue) => ({
      path: ['body', 'labels', ...issue.path].join('.'),
      message: issue.message,
    })),
    fix: 'a label key begins with a letter and has at most 63 letters, digits, dots, slashes and dashes',
  });
}

function editable({ id, name, labels, contact, crmRef, domains, version }: Tenant) {
  return { id, name, labels, contact, crmRef, domains, version };
}
