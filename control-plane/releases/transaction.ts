import { quoteIdent, type PgClient } from '../../platform/pg.ts';
import { isContention, retryContention, type Waiting } from './contention.ts';
import type { Migration } from './release.ts';
import { LOCK_TIMEOUT_MS, SEARCH_PATH, STATEMENT_TIMEOUT_MS } from './session.ts';
import type { StatementResult } from './statistics.ts';

/**
 * Runs `script` (settings, the migration, its record) in one transaction and one message. The session is
 * used again only after a lock wait (rolled back, so that it keeps nothing but the advisory lock); `again` is the
 * script of the tries after the first one, where that is another.
 * Answers what the server said of each statement, and the milliseconds that earlier tries waited for locks.
 */
export async function runInTransaction(
  client: PgClient,
  { lockTimeoutMs }: Migration,
  script: string,
  waiting: Waiting,
  again = script,
): Promise<{ results: StatementResult[]; lockWaitMs: number; tries: number }> {
  let tries = 0;
  const { value, lockWaitMs } = await retryContention(
    async () => {
      tries += 1;
      try {
        // The driver answers a script with an array, which its types do not say.
        const results: unknown = await client.query(`${tries === 1 ? script : again}\nCOMMIT`);
        return results as StatementResult[];
      } catch (error) {
        if (isContention(error)) await client.query('ROLLBACK');
        throw error;
      }
    },
    { ...waiting, lockTimeoutMs: lockTimeoutMs ?? LOCK_TIMEOUT_MS },
  );
  return { results: value, lockWaitMs, tries };
}

/** Role and settings are given anew each time: a SET in the migration before must not reach this one. */
export function openingSql(migration: Migration, ownerRole: string): string {
  return (
    `BEGIN; SET LOCAL ROLE ${quoteIdent(ownerRole)}; ` +
    `SET LOCAL lock_timeout = ${migration.lockTimeoutMs ?? LOCK_TIMEOUT_MS}; ` +
    `SET LOCAL statement_timeout = ${migration.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS}; ` +
    `SET LOCAL search_path TO ${SEARCH_PATH};\n`
  );
}

/** Statements of `openingSql`: a migration's own results come after them. */
export const OPENING_STATEMENTS = 5;

/** The same for the first transaction of a session, which has role and settings from its start-up already. */
export function firstOpening(migration: Migration): { sql: string; statements: number } {
  const own = [
    ...(migration.lockTimeoutMs === null ? [] : [`SET LOCAL lock_timeout = ${migration.lockTimeoutMs};`]),
    ...(migration.statementTimeoutMs === null
      ? []
      : [`SET LOCAL statement_timeout = ${migration.statementTimeoutMs};`]),
  ];
  return { sql: `BEGIN; ${own.join(' ')}\n`, statements: 1 + own.length };
}

/**
 * Ends what the owner does in a transaction. Deferred checks are settled while the role is still the owner's: at
 * COMMIT their triggers would run as the migrator, which may not read the tenant's tables.
 */
export const LEAVE_OWNER = 'SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL ROLE NONE;';
