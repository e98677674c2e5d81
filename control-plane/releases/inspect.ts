import { sqlState, SQLSTATE } from '../../platform/errors.ts';
import type { PgAddress } from '../../platform/pg.ts';
import { readState, type DatabaseState, type Interrupted } from './bookkeeping.ts';
import { takeLock, type LockRequest } from './lock.ts';
import type { Applied } from './release.ts';
import { withMigrationSession } from './session.ts';

/** What a database itself says that it has. */
export interface Inspection {
  applied: Applied[];
  schemaVersion: string | null;
  /** A non-transactional migration that stands half done. */
  interrupted: Interrupted | null;
}

/**
 * Reads what is applied to a database, changing nothing and taking no lock. A database without the tables has
 * nothing applied.
 */
export async function inspectDatabase(
  address: PgAddress,
  request: { ownerRole: string; applicationName: string; signal?: AbortSignal | undefined },
): Promise<Inspection> {
  return withMigrationSession(address, request, async (client) => {
    try {
      const { applied, interrupted } = await readState(client);
      return { applied, schemaVersion: applied.at(-1)?.name ?? null, interrupted };
    } catch (error) {
      if (sqlState(error) !== SQLSTATE.undefinedTable) throw error;
      return { applied: [], schemaVersion: null, interrupted: null };
    }
  });
}

/**
 * Name of the last migration that the database has whole, null for none: a migration on top whose down part was
 * interrupted is neither there nor gone.
 */
export function wholeVersion({
  applied,
  interrupted,
}: Pick<Inspection, 'applied' | 'interrupted'>): string | null {
  const isTopHalf = interrupted !== null && interrupted.migration === applied.at(-1)?.name;
  return applied.at(isTopHalf ? -2 : -1)?.name ?? null;
}

/** Name of the migration that is begun and not recorded; null for none. */
export function halfApplied({
  applied,
  interrupted,
}: Pick<Inspection, 'applied' | 'interrupted'>): string | null {
  const half = interrupted?.migration ?? null;
  return applied.some(({ name }) => name === half) ? null : half;
}

/** Both, read from the database; nothing is changed and no lock taken. @throws errors of connecting and reading */
export async function readReached(
  address: PgAddress,
  request: { ownerRole: string; applicationName: string; signal?: AbortSignal | undefined },
): Promise<{ schemaVersion: string | null; halfApplied: string | null }> {
  return withMigrationSession(address, request, async (client) => {
    const state = await readState(client);
    return { schemaVersion: wholeVersion(state), halfApplied: halfApplied(state) };
  });
}

/**
 * Asks a database in which an older owner may still be at work: ends its sessions, keeps it out from now on, and
 * reads under the migration lock. What it says is then final.
 * @throws FleetError `migration_locked`, `migration_fenced`, `migration_record_missing`; errors of connecting
 */
export async function askDatabase(
  address: PgAddress,
  request: LockRequest & { ownerRole: string },
): Promise<DatabaseState> {
  return withMigrationSession(address, request, (client) =>
    takeLock(client, { ...request, endOlderSessions: true }),
  );
}
