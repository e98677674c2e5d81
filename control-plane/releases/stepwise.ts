import { quoteIdent, type PgClient } from '../../platform/pg.ts';
import { applySql, progressSql, readProgress } from './bookkeeping.ts';
import { confinedSql } from './confine.ts';
import { isContention, migrationFailure } from './failure.ts';
import { clearTheWay } from './indexes.ts';
import type { Migration } from './release.ts';
import { CONCURRENT_LOCK_TIMEOUT_MS, CONCURRENT_STATEMENT_TIMEOUT_MS, SEARCH_PATH } from './session.ts';
import { parseStatements, type Statement } from './sql.ts';
import { openingSql, retryContention, runInTransaction } from './transaction.ts';

interface StepwiseRequest {
  ownerRole: string;
  release: string;
  signal?: AbortSignal | undefined;
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
  request: StepwiseRequest,
): Promise<void> {
  const started = performance.now();
  try {
    const half = await readProgress(client);
    const alreadyDone = half?.migration === migration.name ? half.statementsDone : 0;
    for (const [index, text] of (migration.statements ?? []).entries()) {
      if (index < alreadyDone) continue;
      request.signal?.throwIfAborted();
      const [statement] = await parseStatements(text);
      if (statement !== undefined) await runStatement(client, migration, request, statement, index + 1);
    }
    const elapsed = String(Math.round(performance.now() - started));
    await client.query(`RESET ROLE; BEGIN; ${applySql(migration, request, elapsed, '')} COMMIT`);
  } catch (error) {
    throw await migrationFailure(error, migration, client);
  }
}

async function runStatement(
  client: PgClient,
  migration: Migration,
  { ownerRole, signal }: StepwiseRequest,
  statement: Statement,
  doneAfter: number,
): Promise<void> {
  const mark = progressSql(migration, doneAfter);
  // Also what a release may not hold any more: nothing but index and vacuum work runs unconfined.
  if (statement.kind.run === 'transactional' || statement.kind.run === 'forbidden') {
    const script = `RESET ROLE; ${openingSql(migration)}${confinedSql(ownerRole, statement.text)}${mark}`;
    await runInTransaction(client, script, signal);
    return;
  }
  await retryContention(async () => {
    await client.query(sessionSql(migration, ownerRole));
    try {
      if (await clearTheWay(client, statement.kind)) await client.query(statement.text);
    } catch (error) {
      if (isContention(error)) await client.query('RESET ROLE');
      throw error;
    }
  }, signal);
  await client.query(`RESET ROLE; BEGIN; ${mark} COMMIT`);
}

/** For the session, not a transaction: these statements refuse to run in one. Given anew for each. */
function sessionSql(migration: Migration, ownerRole: string): string {
  return (
    `SET lock_timeout = ${migration.lockTimeoutMs ?? CONCURRENT_LOCK_TIMEOUT_MS}; ` +
    `SET statement_timeout = ${migration.statementTimeoutMs ?? CONCURRENT_STATEMENT_TIMEOUT_MS}; ` +
    `SET search_path TO ${SEARCH_PATH}; SET ROLE ${quoteIdent(ownerRole)}`
  );
}
