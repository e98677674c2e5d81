import { FleetError } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import { findRegion, insertRegion, setRegionAppUrl } from './region-store.ts';

/** A place with a jurisdiction: what is in it, stays in it. */
export interface RegionRecord {
  name: string;
  jurisdiction: string;
  /** Tenants are reached at `{slug}.{domain}`. */
  domain: string;
  /** Where the region's tenant app is reached by a person, once that is known. */
  appUrl: string | null;
  createdAt: Date;
}

/** @returns 404 `region_not_found` */
export function regionNotFound(name: string): FleetError {
  return new FleetError({
    code: 'region_not_found',
    status: 404,
    message: `there is no region ${name}`,
    fix: `fleet region list, or fleet region create ${name}`,
  });
}

/** @throws FleetError 404 `region_not_found` */
export async function requireKnownRegion(db: Queryable, name: string): Promise<void> {
  if ((await findRegion(db, name)) === undefined) throw regionNotFound(name);
}

/** Makes the region when it is missing. Of one that exists, only a known new app URL is taken over. */
export async function ensureRegion(tx: Queryable, region: Omit<RegionRecord, 'createdAt'>): Promise<void> {
  const existing = await findRegion(tx, region.name);
  if (existing === undefined) await insertRegion(tx, region);
  else if (region.appUrl !== null) await setRegionAppUrl(tx, region.name, region.appUrl);
}
