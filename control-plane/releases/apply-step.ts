import type { PgClient } from '../../platform/pg.ts';
import { applySql } from './bookkeeping.ts';
import type { Waiting } from './contention.ts';
import { migrationFailure } from './failure.ts';
import type { Migration } from './release.ts';
import { changedRows, type MigrationStatistics } from './statistics.ts';
import { firstOpening, OPENING_STATEMENTS, openingSql, runInTransaction } from './transaction.ts';

export interface StepRequest {
  ownerRole: string;
  release: string;
  waiting: Waiting;
}

/**
 * Role, settings, the migration's SQL, both records and COMMIT in one message: one round trip. `proof` is one
 * statement that goes ahead of the migration's own, in a session that is fresh.
 * @throws FleetError `migration_failed`, `migration_unknown`
 */
export async function applyInTransaction(
  client: PgClient,
  migration: Migration,
  request: StepRequest,
  proof = '',
): Promise<MigrationStatistics> {
  const startedAt = performance.now();
  const opening =
    proof === ''
      ? { sql: openingSql(migration, request.ownerRole), statements: OPENING_STATEMENTS }
      : firstOpening(migration);
  const ahead = opening.sql + proof;
  const script = ahead + applySql(migration, request, ELAPSED_MS, migration.upSql);
  try {
    const { results, lockWaitMs } = await runInTransaction(client, migration, script, request.waiting);
    const own = opening.statements + (proof === '' ? 0 : 1);
    const rows = changedRows(results.slice(own, -RECORDING_STATEMENTS));
    const durationMs = Math.round(performance.now() - startedAt);
    return { name: migration.name, durationMs, lockWaitMs, rows };
  } catch (error) {
    throw migrationFailure(error, migration, ahead.length);
  }
}

/** Statements of `applySql` behind the migration's own, with COMMIT. */
const RECORDING_STATEMENTS = 5;

/** Since the transaction began. */
const ELAPSED_MS = '(extract(epoch FROM clock_timestamp() - now()) * 1000)::int';
