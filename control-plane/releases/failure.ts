import { DatabaseError } from 'pg';
import { FleetError, isUnreachable, SQLSTATE, sqlState } from '../../platform/errors.ts';
import { isContention, LockWaitError, type Blocker } from './contention.ts';
import type { Migration } from './release.ts';
import { lineAt } from './sql.ts';

/**
 * What passes by itself. Nothing else is worth a repeat: neither 42 (syntax, missing object), 23 (constraint) and 22
 * (data), nor 55006, which in a migration means its own pending triggers, nor a database that was dropped.
 */
const RETRYABLE = new Set<string>([
  SQLSTATE.serializationFailure,
  SQLSTATE.deadlockDetected,
  SQLSTATE.tooManyConnections,
  SQLSTATE.lockNotAvailable,
  SQLSTATE.adminShutdown,
  SQLSTATE.crashShutdown,
  SQLSTATE.cannotConnectNow,
]);

/** Class 08 is about the connection. */
function isRetryableState(state: string): boolean {
  return state.startsWith('08') || RETRYABLE.has(state);
}

/**
 * What to throw for an error while `migration` was in flight. Never the server's `detail`: it quotes rows of
 * the tenant. `sqlStartsAt` is where the migration's text begins in what was sent, in characters.
 */
export function migrationFailure(thrown: unknown, migration: Migration, sqlStartsAt?: number): FleetError {
  const error = thrown instanceof LockWaitError ? thrown.cause : thrown;
  const blockers = thrown instanceof LockWaitError ? thrown.blockers : [];
  const state = sqlState(error);
  if (state === undefined || isUnreachable(error)) return unknownOutcome(error, migration, state);
  const message = error instanceof Error ? error.message : String(error);
  const where = failingLine(error, migration, sqlStartsAt);
  return new FleetError({
    code: 'migration_failed',
    status: 422,
    message: `${migration.name} failed${where}: ${message} (SQLSTATE ${state})${describeBlockers(blockers)}`,
    retryable: isRetryableState(state),
    fix: fixFor(error, state),
    cause: error,
  });
}

/**
 * The connection broke with the migration under way: it may have been committed. Also for 57P01 and its kin,
 * which the server can send after a COMMIT and before it says that it is ready.
 */
function unknownOutcome(error: unknown, migration: Migration, state: string | undefined): FleetError {
  return new FleetError({
    code: 'migration_unknown',
    status: 503,
    message: `the connection was lost while ${migration.name} was running: it may or may not be applied`,
    retryable: state === undefined || isRetryableState(state),
    fix: 'apply again: the database is asked first what it has',
    cause: error,
  });
}

/** Only for an error in the migration's own text: not in a function that it calls, nor in a single statement. */
function failingLine(error: unknown, { upSql }: Migration, sqlStartsAt: number | undefined): string {
  if (!(error instanceof DatabaseError) || sqlStartsAt === undefined) return '';
  const offset = Number(error.position) - 1 - sqlStartsAt;
  if (!(offset >= 0 && offset < upSql.length)) return '';
  return ` at line ${lineAt(upSql, offset)} of its SQL`;
}

function fixFor(error: unknown, state: string): string {
  if (state === SQLSTATE.queryCanceled) {
    return 'it ran longer than its time-out: set `-- fleet: statement-timeout=…` or split it, and publish anew';
  }
  if (isContention(error)) return 'retry when the blocking transaction has ended';
  return 'mend the data, or publish a corrected release; nothing of this migration was kept';
}

function describeBlockers(blockers: Blocker[]): string {
  return blockers
    .map(({ pid, applicationName, state, seconds, query }) => {
      const who = applicationName === '' ? state : `${applicationName}, ${state}`;
      return `; blocked by pid ${pid} (${who}, in a transaction for ${seconds} s): ${query}`;
    })
    .join('');
}
