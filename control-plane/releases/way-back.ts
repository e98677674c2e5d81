import type { Holders } from './offer.ts';
import type { ReleaseRecord } from './store.ts';

export interface Standing {
  holders: readonly Holders[];
  /** All of the list, the oldest first. */
  releases: readonly Pick<ReleaseRecord, 'name' | 'headOrdinal'>[];
  /** Place of the last migration that new tenants are born with; 0 for none. */
  bornAt: number;
}

/**
 * How a published migration can leave the list again, in words; undefined where a database has it, or what would have
 * to go with it, as far as the registry knows. What rollouts know of it is asked when it is withdrawn. Pure.
 */
export function wayBack({ holders, releases, bornAt }: Standing, ordinal: number): string | undefined {
  const first = releases.findIndex(({ headOrdinal }) => headOrdinal >= ordinal);
  if (first < 0) return undefined;
  const floor = releases[first - 1]?.headOrdinal ?? 0;
  if (bornAt > floor || holders.some((holder) => holder.ordinal > floor)) return undefined;
  const names = releases.slice(first).map(({ name }) => name);
  return `as no database is known to have it, it can be withdrawn: fleet release withdraw ${names.toReversed().join(', then ')} (--reason TEXT)`;
}
