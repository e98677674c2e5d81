import { DatabaseError } from 'pg';
import { FleetError, isRetryable, isUnreachable, sqlState } from '../../platform/errors.ts';
import type { PgClient } from '../../platform/pg.ts';
import type { Migration } from './release.ts';
import { lineAt } from './sql.ts';

/** States that pass by themselves: waiting for a lock, a deadlock, a serialization conflict. */
const CONTENTION = new Set(['55P03', '40P01', '40001']);

export function isContention(error: unknown): boolean {
  return CONTENTION.has(sqlState(error) ?? '');
}

const QUERY_CANCELED = '57014';

/**
 * What to throw for an error while `migration` was in flight. Never the server's `detail`: it quotes rows of
 * the tenant.
 */
export async function migrationFailure(
  error: unknown,
  migration: Migration,
  client: PgClient,
): Promise<FleetError> {
  const state = sqlState(error);
  if (state === undefined || isUnreachable(error)) return unknownOutcome(error, migration);
  const message = error instanceof Error ? error.message : String(error);
  const where = failingLine(error, migration);
  const blocker = isContention(error) ? await oldestTransaction(client) : '';
  return new FleetError({
    code: 'migration_failed',
    status: 422,
    message: `${migration.name} failed${where}: ${message} (SQLSTATE ${state})${blocker}`,
    retryable: isRetryable(error),
    fix: fixFor(state),
    cause: error,
  });
}

/**
 * The connection broke with the migration under way: it may have been committed. Also for 57P01 and its kin,
 * which the server can send after a COMMIT and before it says that it is ready.
 */
function unknownOutcome(error: unknown, migration: Migration): FleetError {
  return new FleetError({
    code: 'migration_unknown',
    status: 503,
    message: `the connection was lost while ${migration.name} was running: it may or may not be applied`,
    retryable: true,
    fix: 'apply again: the database is asked first what it has',
    cause: error,
  });
}

/** Only for an error in the migration's own text: not in a function that it calls, nor in a single statement. */
function failingLine(error: unknown, { upSql }: Migration): string {
  if (!(error instanceof DatabaseError) || error.internalQuery?.startsWith(upSql) !== true) return '';
  const offset = Number(error.internalPosition) - 1;
  if (!(offset >= 0 && offset < upSql.length)) return '';
  return ` at line ${lineAt(upSql, offset)} of its SQL`;
}

function fixFor(state: string): string {
  if (state === QUERY_CANCELED) {
    return 'it ran longer than its time-out: set `-- fleet: statement-timeout=…` or split it, and publish anew';
  }
  if (CONTENTION.has(state)) return 'retry when the blocking transaction has ended';
  return 'mend the data, or publish a corrected release; nothing of this migration was kept';
}

/** Names what most likely blocks: the oldest open transaction. Best effort: it is only words in a message. */
async function oldestTransaction(client: PgClient): Promise<string> {
  const { rows } = await client
    .query<{ pid: number; state: string; seconds: number; application_name: string }>(
      `SELECT pid, state, application_name, extract(epoch FROM now() - xact_start)::int AS seconds
         FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
        ORDER BY xact_start LIMIT 1`,
    )
    .catch(() => ({ rows: [] }));
  const [oldest] = rows;
  if (oldest === undefined) return '';
  const { pid, state, seconds } = oldest;
  return `; the oldest open transaction there is pid ${pid} (${oldest.application_name}, ${state}, since ${seconds} s)`;
}
