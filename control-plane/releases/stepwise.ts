import type { PgClient } from '../../platform/pg.ts';
import { applySql, begunSql, progressSql, revertSql, type DatabaseState } from './bookkeeping.ts';
import { retryContention, type Waiting } from './contention.ts';
import { migrationFailure } from './failure.ts';
import { clearTheWay } from './indexes.ts';
import type { Migration } from './release.ts';
import {
  CONCURRENT_LOCK_TIMEOUT_MS,
  CONCURRENT_STATEMENT_TIMEOUT_MS,
  OUTSIDE,
  SEARCH_PATH,
} from './session.ts';
import { parseStatements, type Statement } from './sql.ts';
import {
  changedRows,
  type MigrationStatistics,
  type StatementResult,
  type StatementStatistics,
} from './statistics.ts';
import { OPENING_STATEMENTS, openingSql, runInTransaction } from './transaction.ts';

interface StepwiseRequest {
  ownerRole: string;
  waiting: Waiting;
  /** As it was read under the lock; says what an interrupted attempt has done. */
  state: Pick<DatabaseState, 'interrupted'>;
}

/**
 * Applies a non-transactional migration statement by statement, from the first that is not done. What can run
 * in a transaction does, together with its progress mark: it happens once. What cannot is looked for in
 * the catalogue first: an attempt that was killed after the effect and before the mark has left it there.
 * @throws FleetError `migration_failed`, `migration_unknown`.
 */
export async function applyStepwise(
  client: PgClient,
  migration: Migration,
  request: StepwiseRequest & { release: string },
): Promise<MigrationStatistics> {
  return runStepwise(client, migration, request, {
    statements: () => Promise.resolve(migration.statements ?? []),
    closing: applySql(migration, request, ''),
  });
}

/** The same with its down part: at the end both records are gone. */
export async function revertStepwise(
  client: PgClient,
  migration: Migration,
  request: StepwiseRequest,
): Promise<MigrationStatistics> {
  return runStepwise(client, migration, request, {
    statements: async () => (await parseStatements(migration.downSql ?? '')).map(({ text }) => text),
    closing: revertSql(migration, ''),
  });
}

interface Direction {
  statements: () => Promise<string[]>;
  /** SQL that ends the migration in the record. */
  closing: string;
}

async function runStepwise(
  client: PgClient,
  migration: Migration,
  request: StepwiseRequest,
  { statements, closing }: Direction,
): Promise<MigrationStatistics> {
  const startedAt = performance.now();
  const { interrupted } = request.state;
  const alreadyDone = interrupted?.migration === migration.name ? interrupted.statementsDone : 0;
  const done: StatementStatistics[] = [];
  let lockWaitMs = 0;
  try {
    for (const [index, text] of (await statements()).entries()) {
      if (index < alreadyDone) continue;
      request.waiting.signal?.throwIfAborted();
      const [statement] = await parseStatements(text);
      if (statement === undefined) continue;
      const ran = await timed(() => runStatement(client, migration, request, statement, index + 1));
      lockWaitMs += ran.lockWaitMs;
      done.push({ command: ran.command, durationMs: ran.durationMs, rows: ran.rows });
    }
    await client.query(`${openingSql(migration, request.ownerRole)}${closing} COMMIT`);
  } catch (error) {
    throw migrationFailure(error, migration);
  }
  const rows = done.reduce((sum, statement) => sum + statement.rows, 0);
  return { name: migration.name, durationMs: since(startedAt), lockWaitMs, rows, statements: done };
}

interface Ran {
  command: string;
  rows: number;
  lockWaitMs: number;
}

async function runStatement(
  client: PgClient,
  migration: Migration,
  { ownerRole, waiting }: StepwiseRequest,
  statement: Statement,
  doneAfter: number,
): Promise<Ran> {
  const mark = progressSql(migration, doneAfter);
  if (statement.kind.run === 'transactional' || statement.kind.run === 'forbidden') {
    const script = `${openingSql(migration, ownerRole)}${statement.text}\n;${mark}`;
    const { results, lockWaitMs } = await runInTransaction(client, migration, script, waiting);
    return ranAs(results[OPENING_STATEMENTS], lockWaitMs);
  }
  if (doneAfter === 1) await client.query(begunSql(migration));
  const { value, lockWaitMs } = await retryContention(async () => {
    await client.query(sessionSql(migration));
    const wanted = await clearTheWay(client, statement.kind);
    return wanted ? await client.query(statement.text) : undefined;
  }, waiting);
  await client.query(`RESET application_name; BEGIN; ${mark} COMMIT`);
  return ranAs(value, lockWaitMs);
}

/** Nothing was sent where the effect was there already. */
function ranAs(result: StatementResult | undefined, lockWaitMs: number): Ran {
  const command = result?.command ?? 'nothing';
  return { command, rows: result === undefined ? 0 : changedRows([result]), lockWaitMs };
}

async function timed(work: () => Promise<Ran>): Promise<Ran & { durationMs: number }> {
  const startedAt = performance.now();
  const ran = await work();
  return { ...ran, durationMs: since(startedAt) };
}

function since(startedAt: number): number {
  return Math.round(performance.now() - startedAt);
}

/** For the session, not a transaction: these statements refuse to run in one. Given anew for each. */
function sessionSql(migration: Migration): string {
  return (
    `SET lock_timeout = ${migration.lockTimeoutMs ?? CONCURRENT_LOCK_TIMEOUT_MS}; ` +
    `SET statement_timeout = ${migration.statementTimeoutMs ?? CONCURRENT_STATEMENT_TIMEOUT_MS}; ` +
    // RESET leads to the role and the name that the session was opened with.
    `SET search_path TO ${SEARCH_PATH}; RESET ROLE; RESET application_name; ` +
    `SELECT set_config('application_name', current_setting('application_name') || '${OUTSIDE}', false)`
  );
}
