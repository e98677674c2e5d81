import type { PgClient } from '../../platform/pg.ts';
import type { Waiting } from './contention.ts';
import { migrationFailure } from './failure.ts';
import type { Migration } from './release.ts';
import { OWN_CHANGES_SQL } from './stamp.ts';
import { changedRows, type MigrationRun, type StatementResult } from './statistics.ts';
import { firstOpening, OPENING_STATEMENTS, openingSql, runInTransaction } from './transaction.ts';

export interface StepRequest {
  ownerRole: string;
  waiting: Waiting;
  /** Whether it is counted what the migration writes in the catalogues. */
  counted?: boolean | undefined;
}

/** What goes ahead of the migration's own statements, in a session that is fresh. */
export interface Proof {
  sql: string;
  statements: number;
  /** What is asked again after a lock wait: the server has counted the tries that failed too. */
  again: string;
}

/** Statements of `applySql` and of `revertSql` behind the migration's own. */
const RECORDING_STATEMENTS = 4;

/**
 * Role, settings, `body` (the migration's SQL and its records) and COMMIT in one message: one round trip.
 * @throws FleetError `migration_failed`, `migration_unknown`
 */
export async function runStep(
  client: PgClient,
  migration: Migration,
  body: string,
  request: StepRequest & { proof?: Proof | undefined },
): Promise<MigrationRun> {
  const { proof, waiting } = request;
  const startedAt = performance.now();
  const counted = request.counted === true;
  const opening = proof === undefined ? laterOpening(migration, request) : firstOpening(migration);
  const first = proof?.sql ?? (counted ? OWN_CHANGES_SQL : '');
  // As long as the first, so that the place of an error in the migration is told rightly of every try.
  const again = proof?.again.padEnd(first.length) ?? first;
  const script = (ahead: string): string => `${opening.sql}${ahead}${body}${counted ? OWN_CHANGES_SQL : ''}`;
  try {
    const ran = await runInTransaction(client, migration, script(first), waiting, script(again));
    const results = ran.results.slice(opening.statements, -1);
    const ahead = proof?.statements ?? (counted ? 1 : 0);
    const own = results.slice(ahead, -RECORDING_STATEMENTS - (counted ? 1 : 0));
    const durationMs = Math.round(performance.now() - startedAt);
    const step = { name: migration.name, durationMs, lockWaitMs: ran.lockWaitMs, rows: changedRows(own) };
    // A session that is fresh has written nothing before.
    const before = proof === undefined ? changesOf(results[0]) : 0;
    return { step, changes: counted && ran.tries === 1 ? changesOf(results.at(-1)) - before : null };
  } catch (error) {
    throw migrationFailure(error, migration, opening.sql.length + first.length);
  }
}

function laterOpening(migration: Migration, { ownerRole }: StepRequest): { sql: string; statements: number } {
  return { sql: openingSql(migration, ownerRole), statements: OPENING_STATEMENTS };
}

function changesOf(result: StatementResult | undefined): number {
  return Number(result?.rows[0]?.changes ?? 0);
}
