import pRetry from 'p-retry';
import type { PgClient } from '../../platform/pg.ts';
import { isContention } from './failure.ts';
import type { Migration } from './release.ts';
import { LOCK_TIMEOUT_MS, SEARCH_PATH, STATEMENT_TIMEOUT_MS } from './session.ts';

/** Ten waits of `lock_timeout` with growing, jittered pauses between: about half a minute in all. */
const CONTENTION_RETRIES = { retries: 9, minTimeout: 50, maxTimeout: 1_000, factor: 2, randomize: true };

/** Repeats `attempt` while it fails for locks that others hold; any other failure passes at once. */
export async function retryContention(
  attempt: () => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  await pRetry(attempt, { ...CONTENTION_RETRIES, shouldRetry: ({ error }) => isContention(error), signal });
}

/**
 * Runs `script` (settings, the migration, its record) in one transaction and one message. The session is
 * used again only after a lock wait (rolled back, so that it keeps nothing but the advisory lock).
 */
export async function runInTransaction(
  client: PgClient,
  script: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const text = `${script}\nCOMMIT`;
  await retryContention(async () => {
    try {
      await client.query(text);
    } catch (error) {
      if (isContention(error)) await client.query('ROLLBACK');
      throw error;
    }
  }, signal);
}

/** Settings are given anew each time: a SET in the migration before must not reach this one. */
export function openingSql(migration: Migration): string {
  return (
    `BEGIN; SET LOCAL lock_timeout = ${migration.lockTimeoutMs ?? LOCK_TIMEOUT_MS}; ` +
    `SET LOCAL statement_timeout = ${migration.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS}; ` +
    `SET LOCAL search_path TO ${SEARCH_PATH};\n`
  );
}
