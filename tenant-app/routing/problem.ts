import { randomUUID } from 'node:crypto';
import type { ErrorRequestHandler, Response } from 'express';
import type { Problem } from '../../contract/problem.ts';
import {
  FleetError,
  isUnreachable,
  SQLSTATE,
  sqlState,
  type FleetErrorFields,
} from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import type { TenantHandle } from './tenant-handle.ts';

/** A refusal that tells the client when to come again, or where to go. */
export class RoutingError extends FleetError {
  /** Seconds for `Retry-After`. */
  readonly retryAfterS: number | undefined;
  /** Address of the region that serves the tenant. */
  readonly url: string | undefined;

  constructor(fields: FleetErrorFields & { retryAfterS?: number; url?: string | undefined }) {
    super({ ...fields, retryable: fields.retryAfterS !== undefined });
    this.name = 'RoutingError';
    this.retryAfterS = fields.retryAfterS;
    this.url = fields.url;
  }
}

/** The middleware sets it on every answer. */
export const REQUEST_ID_HEADER = 'X-Request-Id';

/** Answers with RFC 9457 problem+json. Does nothing when an answer has begun: the connection is cut then. */
export function sendProblem(response: Response, error: FleetError, requestId: string): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body: Problem & { url?: string } = {
    type: `urn:flotilla:problem:${error.code}`,
    title: error.code.replaceAll('_', ' '),
    status: error.status,
    code: error.code,
    detail: error.message,
    ...(error.fix === undefined ? {} : { fix: error.fix }),
    requestId,
    ...(error.errors === undefined ? {} : { errors: error.errors }),
  };
  if (error instanceof RoutingError) {
    if (error.retryAfterS !== undefined) response.setHeader('Retry-After', String(error.retryAfterS));
    if (error.url !== undefined) body.url = error.url;
  }
  // The answer of a refused host must not be kept for the tenant that may have it tomorrow.
  response.setHeader('Cache-Control', 'no-store');
  response.status(error.status).type('application/problem+json').send(JSON.stringify(body));
}

/**
 * The last handler of an app: turns what a handler threw into a problem. Failures of PostgreSQL keep their
 * texts to themselves, since those may quote a tenant's data.
 */
export function problemHandler(logger: Logger): ErrorRequestHandler {
  return (error: unknown, request, response, _next) => {
    const known = asFleetError(error);
    const requestId = requestIdOf(response);
    if (known.status >= 500 && !(error instanceof FleetError)) {
      logger.error('a request failed', {
        requestId,
        tenant: (request.tenant as TenantHandle | undefined)?.slug,
        error,
      });
    }
    sendProblem(response, known, requestId);
  };
}

/** Probes are answered before the middleware has given the request an id: then it gets one here. */
function requestIdOf(response: Response): string {
  const given = response.getHeader(REQUEST_ID_HEADER);
  if (typeof given === 'string') return given;
  const made = randomUUID();
  if (!response.headersSent) response.setHeader(REQUEST_ID_HEADER, made);
  return made;
}

const UNDEFINED_OBJECTS = new Set<string>([
  SQLSTATE.undefinedTable,
  SQLSTATE.undefinedColumn,
  SQLSTATE.undefinedFunction,
  SQLSTATE.invalidSchemaName,
]);

function asFleetError(error: unknown): FleetError {
  if (error instanceof FleetError) return error;
  const state = sqlState(error);
  if (state === SQLSTATE.queryCanceled) {
    return new RoutingError({
      code: 'statement_timeout',
      status: 503,
      message: "the tenant's database took too long to answer",
      retryAfterS: 1,
    });
  }
  if (state !== undefined && UNDEFINED_OBJECTS.has(state)) {
    return new RoutingError({
      code: 'schema_behind',
      status: 503,
      message: "the tenant's database does not yet have what this version of the app needs",
      fix: 'roll out the release that this app requires',
      retryAfterS: 30,
    });
  }
  if (isUnreachable(error)) return databaseUnreachable(error);
  const client = clientFault(error);
  if (client !== undefined) return client;
  return new FleetError({ code: 'internal', status: 500, message: 'the request failed; its id is logged' });
}

/** The tenant's database cannot be reached just now. */
export function databaseUnreachable(cause: unknown): RoutingError {
  return new RoutingError({
    code: 'database_unreachable',
    status: 503,
    message: "the tenant's database cannot be reached",
    retryAfterS: 1,
    cause,
  });
}

/** What opens the tenant's database is not known yet. */
export function credentialUnavailable(cause?: unknown): RoutingError {
  return new RoutingError({
    code: 'credential_unavailable',
    status: 503,
    message: "the credential of the tenant's database cannot be had just now",
    retryAfterS: 2,
    cause,
  });
}

/** What express and its parsers throw for a bad request carries a 4xx status and a `type`. */
function clientFault(error: unknown): FleetError | undefined {
  if (typeof error !== 'object' || error === null || !('status' in error)) return undefined;
  const { status } = error;
  if (typeof status !== 'number' || status < 400 || status > 499) return undefined;
  const type = 'type' in error && typeof error.type === 'string' ? error.type : 'bad_request';
  return new FleetError({
    code: type.replaceAll(/[^a-z0-9]+/g, '_'),
    status,
    message: 'the request cannot be read',
    fix:
      status === 413 ? 'send less at once' : 'send valid JSON in UTF-8, and a path in percent-encoded UTF-8',
  });
}
