import type { Role } from '../../contract/access.ts';
import { FleetError } from '../../platform/errors.ts';

/** Who makes a request, as the API key proved it. */
export interface Caller {
  principalId: string;
  name: string;
  role: Role;
  /** Regions the key is bound to; empty = every region. */
  regions: string[];
}

/** Who asks for a change, and how the request says so. */
export interface Asker {
  caller: Caller;
  /** Null where it is the control plane's own doing. */
  requestId: string | null;
  /** The version that they have seen of what is to be changed; undefined = any. */
  ifMatch?: number | undefined;
  /** Why, in their own words. */
  reason?: string | undefined;
}

/** The control plane acting by itself (first start, schedules). */
export const SYSTEM_CALLER: Caller = {
  principalId: '00000000-0000-0000-0000-000000000001',
  name: 'system',
  role: 'admin',
  regions: [],
};

/** Whether the caller may see and change things of `region`. */
export function mayUseRegion(caller: Caller, region: string): boolean {
  return caller.regions.length === 0 || caller.regions.includes(region);
}

/** @throws FleetError 403 `region_forbidden` when the caller's key is bound to other regions. */
export function requireRegion(caller: Caller, region: string): void {
  if (mayUseRegion(caller, region)) return;
  throw new FleetError({
    code: 'region_forbidden',
    status: 403,
    message: `your key is bound to ${caller.regions.join(', ')} and may not act in region ${region}`,
    fix: 'use a key of that region',
  });
}

/**
 * For what touches every region: releases. @throws FleetError 403 `region_forbidden` for a key that is bound
 * to some.
 */
export function requireFleetWide(caller: Caller, what: string): void {
  if (caller.regions.length === 0) return;
  throw new FleetError({
    code: 'region_forbidden',
    status: 403,
    message: `${what} concerns every region, and your key is bound to ${caller.regions.join(', ')}`,
    fix: 'use a key that is not bound to regions',
  });
}

/** The regions to filter lists by: null means all. */
export function visibleRegions(caller: Caller): string[] | null {
  return caller.regions.length === 0 ? null : caller.regions;
}
