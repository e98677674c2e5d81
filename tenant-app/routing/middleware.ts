import { randomUUID } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';
import type { LocalRoute } from '../../contract/route.ts';
import { FleetError } from '../../platform/errors.ts';
import { admit } from './admit.ts';
import type { Gate, Gates } from './gate.ts';
import { identifyHost, type ProxyTrust } from './identify.ts';
import type { Pools } from './pools.ts';
import { RoutingError, sendProblem } from './problem.ts';
import type { RouteTable } from './route-table.ts';
import { createTenantHandle, type OwnedHandle, type TenantHandle } from './tenant-handle.ts';

declare module 'express-serve-static-core' {
  interface Request {
    /** Set by the routing middleware for every request that it lets through. */
    tenant: TenantHandle;
    /** The client's X-Request-Id when it is well-formed, else a new one. */
    requestId: string;
  }
}

/** A request that is over, for logs and metrics. */
export interface RequestRecord {
  requestId: string;
  /** Slug; undefined when the request was of no tenant of this region. */
  tenant: string | undefined;
  method: string;
  /** Without the query string, which may hold anything. */
  path: string;
  status: number;
  durationMs: number;
  /** The client left before the answer was complete. */
  aborted: boolean;
}

export interface MiddlewareDeps {
  region: string;
  table: RouteTable;
  pools: Pools;
  gates: Gates;
  trusted: ProxyTrust;
  limits: { requestsPerTenant: number; requestMs: number };
  claimedTenant?: (request: Request) => string | undefined;
  onRequest?: (record: RequestRecord) => void;
}

export function routingMiddleware(deps: MiddlewareDeps): RequestHandler {
  return (request, response, next) => {
    const startedAt = performance.now();
    request.requestId = requestIdOf(request);
    response.setHeader('X-Request-Id', request.requestId);
    let gate: Gate | undefined;
    let owned: OwnedHandle | undefined;
    response.once('close', () => over(deps, request, response, { startedAt, gate, owned }));
    try {
      const route = admit(deps.table, identifyHost(sourceOf(request), deps.trusted));
      requireSameClaim(deps, request, route);
      gate = deps.gates.of(route.key, route.slug);
      // Counted before it may be refused, so that `over` undoes it in every case.
      gate.inFlight += 1;
      if (gate.inFlight > deps.limits.requestsPerTenant) throw overLimit();
      owned = createTenantHandle({ pools: deps.pools, breaker: gate.breaker, region: deps.region }, route);
    } catch (error) {
      if (error instanceof FleetError) sendProblem(response, error, request.requestId);
      else next(error);
      return;
    }
    request.tenant = owned.tenant;
    const handle = owned;
    const deadline = setTimeout(() => handle.end(overdue, true), deps.limits.requestMs);
    response.once('close', () => clearTimeout(deadline));
    next();
  };
}

interface Progress {
  startedAt: number;
  gate: Gate | undefined;
  owned: OwnedHandle | undefined;
}

/** The answer is sent or the client has left: whatever the handler still runs is cut off. */
function over(deps: MiddlewareDeps, request: Request, response: Response, progress: Progress): void {
  const aborted = !response.writableFinished;
  const { gate, owned } = progress;
  const status = response.statusCode;
  owned?.end(requestIsOver, false);
  if (gate !== undefined) {
    gate.inFlight -= 1;
    if (status >= 500) gate.answers.serverError += 1;
    else if (status >= 400) gate.answers.clientError += 1;
    else gate.answers.ok += 1;
  }
  deps.onRequest?.({
    requestId: request.requestId,
    tenant: gate?.slug,
    method: request.method,
    path: pathOf(request.originalUrl),
    status,
    durationMs: performance.now() - progress.startedAt,
    aborted,
  });
}

function pathOf(url: string): string {
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
}

function sourceOf(request: Request) {
  return {
    rawHeaders: request.rawHeaders,
    url: request.originalUrl,
    remoteAddress: request.socket.remoteAddress,
  };
}

const REQUEST_ID = /^[A-Za-z0-9._-]{8,64}$/;

function requestIdOf(request: Request): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
}

function requireSameClaim(deps: MiddlewareDeps, request: Request, route: LocalRoute): void {
  const claimed = deps.claimedTenant?.(request);
  if (claimed === undefined || claimed === route.slug || claimed === route.tenantId) return;
  throw new FleetError({
    code: 'tenant_mismatch',
    status: 403,
    message: 'the credentials of this request are of another tenant than its host',
    fix: "send the request to your own tenant's host",
  });
}

function overLimit(): RoutingError {
  return new RoutingError({
    code: 'too_many_requests',
    status: 429,
    message: 'this tenant has too many requests in hand',
    retryAfterS: 1,
  });
}

function overdue(): RoutingError {
  return new RoutingError({
    code: 'deadline_exceeded',
    status: 503,
    message: 'the request took too long and was cut off',
    retryAfterS: 1,
  });
}

function requestIsOver(): FleetError {
  return new FleetError({
    code: 'request_over',
    status: 499,
    message: 'the request was over before its handler was done',
  });
}
