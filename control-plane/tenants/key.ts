import type { Tenant } from '../../contract/tenant.ts';
import { requireRegion, type Asker } from '../access/caller.ts';
import { auditAsked } from '../audit/audit.ts';
import { wrongState } from '../http/conflict.ts';
import type { Transaction } from '../registry/registry.ts';
import type { Secrets } from '../secrets/secret.ts';
import { findTenant } from './store.ts';
import { tenantNotFound, tenantSubject } from './tenant.ts';

/**
 * Keeps the key of a deleted tenant, while it is there: what was sealed under it opens again, wherever it still is. It
 * brings back neither the tenant, nor its database, nor its credentials.
 * @throws FleetError 409 `wrong_state`, 404 `key_not_scheduled`, 410 `key_destroyed`
 */
export async function keepTenantKey(
  tx: Transaction,
  secrets: Secrets,
  slugOrId: string,
  asker: Asker,
): Promise<Tenant> {
  const tenant = await deletedTenant(tx, slugOrId, asker, 'keep the key of');
  await secrets.keepKey(tx, tenantSubject(tenant.id));
  return told(tx, tenant, 'tenant.keep_key', asker);
}

/**
 * Has a key that was kept destroyed after all; its retention begins anew. Asked again, it changes nothing.
 * @throws FleetError 409 `wrong_state`
 */
export async function destroyTenantKey(
  tx: Transaction,
  secrets: Secrets,
  slugOrId: string,
  asker: Asker,
): Promise<Tenant> {
  const tenant = await deletedTenant(tx, slugOrId, asker, 'destroy the key of');
  await secrets.shredOwner(tx, tenantSubject(tenant.id), tenant.slug);
  return told(tx, tenant, 'tenant.destroy_key', asker);
}

/** The tenant that bore the name last, if it is deleted: as long as it lives, so does its key. */
async function deletedTenant(tx: Transaction, slugOrId: string, asker: Asker, verb: string): Promise<Tenant> {
  const tenant = await findTenant(tx, slugOrId, true);
  if (tenant === undefined) throw tenantNotFound(slugOrId);
  requireRegion(asker.caller, tenant.region);
  if (tenant.state === 'deleted') return tenant;
  throw wrongState({ noun: 'tenant', name: tenant.slug, state: tenant.state }, verb, ['deleted']);
}

async function told(
  tx: Transaction,
  { id, slug, region, keyDestruction: before }: Tenant,
  action: string,
  asker: Asker,
): Promise<Tenant> {
  const after = await findTenant(tx, id);
  if (after === undefined) throw tenantNotFound(slug);
  auditAsked(tx, asker, {
    action,
    resource: `tenant:${slug}`,
    region,
    before: { id, ...before },
    after: { id, ...after.keyDestruction },
  });
  return after;
}
