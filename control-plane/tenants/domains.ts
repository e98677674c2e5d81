import { FleetError } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import { addDomains, regionOfHost, removeDomains } from './store.ts';

/**
 * Makes `hosts` the tenant's own, and no others.
 * @throws FleetError 409 `domain_taken`, 422 `domain_reserved` (it belongs to a region)
 */
export async function claimDomains(tx: Queryable, tenantId: string, hosts: string[]): Promise<void> {
  const reserved = await regionOfHost(tx, hosts);
  if (reserved !== undefined) {
    throw new FleetError({
      code: 'domain_reserved',
      status: 422,
      message: `${reserved.host} lies under the domain of region ${reserved.region}`,
      fix: "give a domain of the tenant's own; its name under the region's domain comes by itself",
      errors: [{ path: 'body.domains', message: reserved.host }],
    });
  }
  await removeDomains(tx, tenantId, hosts);
  const owned = new Set(await addDomains(tx, tenantId, hosts));
  const taken = hosts.filter((host) => !owned.has(host));
  if (taken.length > 0) {
    throw new FleetError({
      code: 'domain_taken',
      status: 409,
      message: `${taken.join(', ')} already leads to another tenant`,
      fix: 'choose another domain, or remove it from that tenant first',
    });
  }
}
