import type { Problem } from '../../contract/problem.ts';
import { FleetError, isUnreachable, SQLSTATE, sqlState } from '../../platform/errors.ts';

/** Seconds that a client should wait after a 503: a PostgreSQL restart takes about that long. */
const RETRY_AFTER_SECONDS = 2;

/** Any thrown value as a FleetError: what may be told to a client. What is not expected tells nothing. */
export function toFleetError(error: unknown): FleetError {
  if (error instanceof FleetError) return error;
  if (error instanceof URIError) {
    return new FleetError({
      code: 'malformed_path',
      status: 400,
      message: 'the path is not valid percent-encoded UTF-8',
    });
  }
  const state = sqlState(error);
  if (isUnreachable(error)) return registryUnavailable(error);
  return (state === undefined ? undefined : fromSqlState(state, error)) ?? internal(error);
}

function fromSqlState(state: string, cause: unknown): FleetError | undefined {
  if (state === SQLSTATE.uniqueViolation || state === SQLSTATE.foreignKeyViolation) {
    return new FleetError({
      code: 'conflict',
      status: 409,
      message: 'another request changed the same thing at the same moment',
      fix: 'read it again and decide anew',
      retryable: true,
      cause,
    });
  }
  // Class 22 (data exception) and a check: a value got past the schema that the registry refuses.
  if (state.startsWith('22') || state === SQLSTATE.checkViolation) {
    return new FleetError({
      code: 'invalid_value',
      status: 422,
      message: 'a value in the request cannot be stored',
      cause,
    });
  }
  return BUSY_STATES.has(state) ? registryBusy(cause) : undefined;
}

const BUSY_STATES = new Set<string>([
  SQLSTATE.serializationFailure,
  SQLSTATE.deadlockDetected,
  SQLSTATE.tooManyConnections,
  SQLSTATE.lockNotAvailable,
  SQLSTATE.queryCanceled,
]);

function registryBusy(cause: unknown): FleetError {
  return new FleetError({
    code: 'registry_busy',
    status: 503,
    message: 'the registry is too busy to do this now; nothing was changed',
    fix: 'try again in a moment',
    retryable: true,
    cause,
  });
}

function registryUnavailable(cause: unknown): FleetError {
  return new FleetError({
    code: 'registry_unavailable',
    status: 503,
    message: 'the registry cannot be reached',
    fix: 'try again in a moment; tenants are served meanwhile. If it lasts: `fleet doctor`',
    retryable: true,
    cause,
  });
}

function internal(cause: unknown): FleetError {
  return new FleetError({
    code: 'internal',
    status: 500,
    message: 'something went wrong on our side',
    fix: 'look for the request id in the log of the control plane',
    cause,
  });
}

/** The body of RFC 9457 for an error. */
export function problemOf(error: FleetError, requestId: string): Problem {
  return {
    type: `urn:flotilla:problem:${error.code}`,
    title: titleOf(error.code),
    status: error.status,
    code: error.code,
    detail: error.message,
    ...(error.fix === undefined ? {} : { fix: error.fix }),
    requestId,
    ...(error.errors === undefined ? {} : { errors: error.errors }),
  };
}

function titleOf(code: string): string {
  const words = code.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Headers that belong to the status. */
export function problemHeaders(status: number): Record<string, string> {
  if (status === 401) return { 'WWW-Authenticate': 'Bearer realm="flotilla"' };
  if (status === 503) return { 'Retry-After': String(RETRY_AFTER_SECONDS) };
  return {};
}
