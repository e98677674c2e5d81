import { sqlState, SQLSTATE } from '../../platform/errors.ts';
import { databaseUnreachable, RoutingError } from './problem.ts';
import { WrongDatabaseError } from './tenant-connection.ts';

/** A wrong password, or a login that may not log in (any more): both are what a rotation leaves behind. */
export function isRefusedLogin(error: unknown): boolean {
  const state = sqlState(error);
  return state === SQLSTATE.invalidPassword || state === SQLSTATE.invalidAuthorization;
}

export function isTooManyConnections(error: unknown): boolean {
  return sqlState(error) === SQLSTATE.tooManyConnections;
}

/** Failures to connect that show a server that answers: they do not open its breaker. */
export function isAnswer(error: unknown): boolean {
  return isRefusedLogin(error) || isTooManyConnections(error);
}

/** What a client is told when no connection to its tenant's database can be made. */
export function acquireError(cause: unknown): RoutingError {
  if (cause instanceof WrongDatabaseError) {
    return new RoutingError({
      code: 'wrong_database',
      status: 503,
      message: 'the database of this tenant failed its identity check; nothing was read or written',
      retryAfterS: 30,
      cause,
    });
  }
  if (isRefusedLogin(cause)) {
    return new RoutingError({
      code: 'credential_refused',
      status: 503,
      message: "the tenant's database refuses the credential of this app",
      retryAfterS: 5,
      cause,
    });
  }
  if (isTooManyConnections(cause)) {
    return new RoutingError({
      code: 'too_many_connections',
      status: 503,
      message: "the tenant's database has no connection free",
      retryAfterS: 1,
      cause,
    });
  }
  return databaseUnreachable(cause);
}
