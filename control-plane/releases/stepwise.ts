import type { PgClient } from '../../platform/pg.ts';
import { applySql, progressSql, readProgress } from './bookkeeping.ts';
import { retryContention, type Waiting } from './contention.ts';
import { migrationFailure } from './failure.ts';
import { clearTheWay } from './indexes.ts';
import type { Migration } from './release.ts';
import { CONCURRENT_LOCK_TIMEOUT_MS, CONCURRENT_STATEMENT_TIMEOUT_MS, SEARCH_PATH } from './session.ts';
import { parseStatements, type Statement } from './sql.ts';
import { openingSql, runInTransaction } from './transaction.ts';

interface StepwiseRequest {
  ownerRole: string;
  release: string;
  waiting: Waiting;
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
      request.waiting.signal?.throwIfAborted();
      const [statement] = await parseStatements(text);
      if (statement !== undefined) await runStatement(client, migration, request, statement, index + 1);
    }
    const elapsed = String(Math.round(performance.now() - started));
    await client.query(
      `${openingSql(migration, request.ownerRole)}${applySql(migration, request, elapsed, '')} COMMIT`,
    );
  } catch (error) {
    throw migrationFailure(error, migration);
  }
}

async function runStatement(
  client: PgClient,
  migration: Migration,
  { ownerRole, waiting }: StepwiseRequest,
  statement: Statement,
  doneAfter: number,
): Promise<void> {
  const mark = progressSql(migration, doneAfter);
  if (statement.kind.run === 'transactional' || statement.kind.run === 'forbidden') {
    const script = `${openingSql(migration, ownerRole)}${statement.text}\n;${mark}`;
    await runInTransaction(client, migration, script, waiting);
    return;
  }
  await retryContention(async () => {
    await client.query(sessionSql(migration));
    if (await clearTheWay(client, statement.kind)) await client.query(statement.text);
  }, waiting);
  await client.query(`BEGIN; ${mark} COMMIT`);
}

/** For the session, not a transaction: these statements refuse to run in one. Given anew for each. */
function sessionSql(migration: Migration): string {
  return (
    `SET lock_timeout = ${migration.lockTimeoutMs ?? CONCURRENT_LOCK_TIMEOUT_MS}; ` +
    `SET statement_timeout = ${migration.statementTimeoutMs ?? CONCURRENT_STATEMENT_TIMEOUT_MS}; ` +
    // RESET leads to the role that the session was opened with: the owner's.
    `SET search_path TO ${SEARCH_PATH}; RESET ROLE`
  );
}
