import { createHash } from 'node:crypto';
import { FleetError, sqlState, SQLSTATE } from '../../platform/errors.ts';
import { quoteLiteral, type PgClient } from '../../platform/pg.ts';
import { applyInTransaction, type StepRequest } from './apply-step.ts';
import { MIGRATION_LOCK, type DatabaseState } from './bookkeeping.ts';
import type { Migration } from './release.ts';
import type { MigrationStatistics } from './statistics.ts';

/**
 * Applies the next migration without asking first: lock, proof that the database is where the registry believes
 * it to be, migration and records in one message. Nearly always the belief is right, and a round trip of its own
 * that reads cold catalogues is a tenth of a small migration. Where it is not, the proof divides by zero before
 * anything else has run. Answers undefined then, and the caller takes the careful way in the same session.
 * @param believed name of the last migration that the registry knows of in this database; null for none
 * @throws FleetError as applyMigrations does, for a migration that fails
 */
export async function applyDirectly(
  client: PgClient,
  migrations: Migration[],
  believed: string | null,
  request: StepRequest,
): Promise<{ state: DatabaseState; step: MigrationStatistics } | undefined> {
  const place = believed === null ? 0 : migrations.findIndex(({ name }) => name === believed) + 1;
  const next = migrations[place];
  if (next?.transactional !== true || (believed !== null && place === 0)) return undefined;
  const before = migrations.slice(0, place);
  try {
    const step = await applyInTransaction(client, next, request, proofSql(before));
    return { step, state: stateAfter([...before, next]) };
  } catch (error) {
    const state = error instanceof FleetError ? sqlState(error.cause) : undefined;
    if (!UNPROVEN.has(state ?? '')) throw error;
    await client.query('ROLLBACK');
    return undefined;
  }
}

/**
 * What a wrong belief looks like: the division, no right to look, nothing to look at. A migration may fail so by
 * itself; the careful way then finds that out again.
 */
const UNPROVEN = new Set<string>([
  SQLSTATE.divisionByZero,
  SQLSTATE.insufficientPrivilege,
  SQLSTATE.undefinedTable,
]);

/** Exactly these are applied, with these checksums; nothing is half done, no newer owner was here; the lock is ours. */
function proofSql(applied: readonly Migration[]): string {
  const expected = applied.map(({ name, checksum }) => `${name} ${checksum}`).join('\n');
  const digest = createHash('md5').update(expected).digest('hex');
  return `SELECT 1 / (pg_try_advisory_lock(${MIGRATION_LOCK}) AND NOT EXISTS (SELECT FROM fleet.progress)
  AND ${quoteLiteral(digest)} = (SELECT md5(coalesce(string_agg(p.name || ' ' || m.checksum, E'\\n' ORDER BY p.id), ''))
    FROM public.pgmigrations p LEFT JOIN fleet.migrations m ON m.name = p.name))::int;
`;
}

function stateAfter(applied: readonly Migration[]): DatabaseState {
  return {
    locked: true,
    applied: applied.map(({ name, checksum }) => ({ name, checksum })),
    appliedBy: new Map(),
    interrupted: null,
    fences: new Map(),
  };
}
