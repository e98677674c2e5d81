import { FleetError } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { Transaction } from '../registry/registry.ts';
import { releaseNotFound, type Migration } from './release.ts';
import {
  clearCurrentRelease,
  currentRelease,
  fleetHasDatabases,
  findReleaseAt,
  listMigrations,
  migrationHolders,
  previousHead,
  setCurrentRelease,
  type ReleaseRecord,
} from './store.ts';
import {
  findWithdrawn,
  holdDatabases,
  lockRelease,
  moveToWithdrawn,
  releasesAfter,
} from './withdrawn-store.ts';

/** A release that stands at the end of the list, and may go as far as the list and the registry's record know. */
export interface LastRelease extends ReleaseRecord {
  /** Ordinal of the last migration that is not its own. */
  floor: number;
  /** Its own migrations. */
  own: Migration[];
  /** Whether new tenants would be born at it. */
  current: boolean;
}

/** What to say where there is no release `name`: never published, or taken back. */
export async function missingRelease(db: Queryable, name: string): Promise<FleetError> {
  const gone = await findWithdrawn(db, name);
  if (gone === undefined) return releaseNotFound(name);
  return new FleetError({
    code: 'release_withdrawn',
    status: 404,
    message: `release ${name} was withdrawn by ${gone.withdrawnBy} at ${gone.withdrawnAt.toISOString()}: ${gone.reason}`,
    fix: 'fleet release list',
  });
}

/**
 * The release, locked against plans of it, where nothing stands on it: no newer release, no database that the registry
 * knows to have one of its own migrations, no new tenants.
 * @throws FleetError 404 `release_not_found`, 409 `release_not_last`, 409 `release_current`, 409 `release_in_use`
 */
export async function lockLastRelease(tx: Transaction, name: string): Promise<LastRelease> {
  const release = await lockRelease(tx, name, 'exclusive');
  if (release === undefined) throw releaseNotFound(name);
  const newer = await releasesAfter(tx, release.headOrdinal);
  if (newer.length > 0) throw notLast(name, newer);
  const current = (await currentRelease(tx))?.name === name;
  if (current) await refuseBirths(tx, name);
  const floor = await previousHead(tx, release.headOrdinal);
  const own = (await listMigrations(tx, release.headOrdinal)).slice(floor);
  const holders = (await migrationHolders(tx)).filter(({ ordinal }) => ordinal > floor);
  const count = holders.reduce((sum, { databases }) => sum + databases, 0);
  if (count > 0) throw releaseInUse(name, { tenants: holders.flatMap(({ tenants }) => tenants), count });
  return { ...release, floor, own, current };
}

/** Takes the release out of the list. Where new tenants would be born at it, they are at the one before. */
export async function takeOut(
  tx: Transaction,
  { name, floor, current }: Pick<LastRelease, 'name' | 'floor' | 'current'>,
  { by, reason }: { by: string; reason: string },
): Promise<void> {
  const before = await findReleaseAt(tx, floor);
  await moveToWithdrawn(tx, { name, floor, by, reason });
  if (!current) return;
  if (before === undefined) await clearCurrentRelease(tx);
  else await setCurrentRelease(tx, before.name);
}

/** The first release is current from its publishing on: while there is no database, nobody was born at it. */
async function refuseBirths(tx: Transaction, name: string): Promise<void> {
  await holdDatabases(tx);
  if (await fleetHasDatabases(tx)) throw isCurrent(name);
}

function notLast(name: string, newer: readonly string[]): FleetError {
  return new FleetError({
    code: 'release_not_last',
    status: 409,
    message: `${newer.join(', ')} ${newer.length === 1 ? 'stands' : 'stand'} on release ${name}`,
    fix: `withdraw from the newest on: fleet release withdraw ${newer[0]} --reason TEXT`,
  });
}

function isCurrent(name: string): FleetError {
  return new FleetError({
    code: 'release_current',
    status: 409,
    message: `new tenants are born at release ${name}`,
    fix: 'undo its rollout first (fleet rollout undo ID), or mend it by a new migration',
  });
}

/** Who has it, or may have it. @param tenants some of them, in any order; `count` all */
export function releaseInUse(
  name: string,
  { tenants, count }: { tenants: readonly string[]; count: number },
  why = 'it is applied, or may be, to',
): FleetError {
  const named = tenants.toSorted().slice(0, TENANTS_NAMED);
  const more = count > named.length ? ` and ${count - named.length} more` : '';
  return new FleetError({
    code: 'release_in_use',
    status: 409,
    message: `release ${name} cannot be withdrawn: ${why} ${named.join(', ')}${more}`,
    fix: 'undo its rollout first (fleet rollout undo ID), or mend it by a new migration',
  });
}

/** A refusal names this many tenants: who it is about is clear, and the line stays one. */
const TENANTS_NAMED = 5;
