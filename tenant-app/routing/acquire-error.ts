import { sqlState } from '../../platform/errors.ts';
import { databaseUnreachable, RoutingError } from './problem.ts';
import { WrongDatabaseError } from './tenant-connection.ts';

/** 28P01: wrong password; 28000: the login may not log in (any more). Both are what a rotation leaves behind. */
export function isRefusedLogin(error: unknown): boolean {
  const state = sqlState(error);
  return state === '28P01' || state === '28000';
}

export function isTooManyConnections(error: unknown): boolean {
  return sqlState(error) === '53300';
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
