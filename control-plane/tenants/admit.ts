import type { Tenant } from '../../contract/tenant.ts';
import { requireRegion, type Asker } from '../access/caller.ts';
import { requireVersion } from '../http/conflict.ts';
import type { Transaction } from '../registry/registry.ts';
import { lockTenant } from './store.ts';
import { tenantNotFound } from './tenant.ts';

/**
 * The tenant that somebody wants to change, held until the transaction ends.
 * @throws FleetError `tenant_not_found`, `region_forbidden`, 412 `version_conflict`
 */
export async function tenantToChange(tx: Transaction, slugOrId: string, asker: Asker): Promise<Tenant> {
  const tenant = await lockTenant(tx, slugOrId);
  if (tenant === undefined) throw tenantNotFound(slugOrId);
  requireRegion(asker.caller, tenant.region);
  requireVersion({ noun: 'tenant', name: tenant.slug, version: tenant.version }, asker.ifMatch);
  return tenant;
}
