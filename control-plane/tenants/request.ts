import type { Tenant } from '../../contract/tenant.ts';
import { requireRegion } from '../access/caller.ts';
import { requireVersion } from '../http/conflict.ts';
import type { Call } from '../http/route.ts';
import { lockTenant } from './store.ts';
import { tenantNotFound } from './tenant.ts';

/** Who asks, and the transaction in which the answer becomes true. */
export type Request = Pick<Call<unknown, unknown, unknown>, 'tx' | 'caller' | 'requestId' | 'ifMatch'>;

/**
 * The tenant that a request wants to change, held until the transaction ends.
 * @throws FleetError `tenant_not_found`, `region_forbidden`, 412 `version_conflict`
 */
export async function tenantToChange(request: Request, slugOrId: string): Promise<Tenant> {
  const tenant = await lockTenant(request.tx, slugOrId);
  if (tenant === undefined) throw tenantNotFound(slugOrId);
  requireRegion(request.caller, tenant.region);
  requireVersion({ noun: 'tenant', name: tenant.slug, version: tenant.version }, request.ifMatch);
  return tenant;
}
