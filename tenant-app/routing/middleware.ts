import { randomUUID } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';
import type { LocalRoute } from '../../contract/route.ts';
import { FleetError } from '../../platform/errors.ts';
import { admit } from './admit.ts';
import { createDeadlines, type Deadlines } from './deadlines.ts';
import type { Gate, Gates } from './gate.ts';
import { identifyHost, type ProxyTrust } from './identify.ts';
import type { Pools } from './pools.ts';
import { REQUEST_ID_HEADER, RoutingError, sendProblem } from './problem.ts';
import type { Reporter } from './reporter.ts';
import type { RouteTable } from './route-table.ts';
import { requireFit, type AcceptedSchema } from './schema-range.ts';
import {
  createTenantRequest,
  endTenantRequest,
  type TenantHandle,
  type TenantRequest,
} from './tenant-handle.ts';

declare module 'express-serve-static-core' {
  interface Request {
    /** Set by the routing middleware for every request that it lets through. */
    tenant: TenantHandle;
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
  reporter: Pick<Reporter, 'count'>;
  appVersion: string;
  accepts: AcceptedSchema;
  trusted: ProxyTrust;
  limits: { requestsPerTenant: number; requestMs: number };
  claimedTenant?: (request: Request) => string | undefined;
  onRequest?: (record: RequestRecord) => void;
}

/** A request from its arrival to its end. */
interface Passage {
  request: Request;
  response: Response;
  requestId: string;
  startedAt: number;
  gate: Gate | undefined;
  /** Whose traffic it is, once it is let through to the tenant's schema. */
  databaseId: string | undefined;
  inner: TenantRequest | undefined;
}

export function routingMiddleware(deps: MiddlewareDeps): RequestHandler {
  const deadlines = createDeadlines<TenantRequest>(deps.limits.requestMs, (inner) =>
    endTenantRequest(inner, overdue, true),
  );
  return (request, response, next) => {
    const requestId = requestIdOf(request);
    const passage: Passage = {
      request,
      response,
      requestId,
      startedAt: performance.now(),
      gate: undefined,
      databaseId: undefined,
      inner: undefined,
    };
    response.setHeader(REQUEST_ID_HEADER, requestId);
    response.on('close', () => over(deps, deadlines, passage));
    try {
      const inner = enter(deps, passage);
      deadlines.add(inner);
      request.tenant = inner.tenant;
    } catch (error) {
      if (error instanceof FleetError) sendProblem(response, error, requestId);
      else next(error);
      return;
    }
    next();
  };
}

/** @throws FleetError for every request that is not to be served here and now */
function enter(deps: MiddlewareDeps, passage: Passage): TenantRequest {
  const { request, requestId } = passage;
  const route = admit(deps.table, identifyHost(request, deps.trusted));
  requireSameClaim(deps, request, route);
  const gate = deps.gates.of(route.key, route.slug);
  // Counted before it may be refused, so that `over` undoes it in every case.
  passage.gate = gate;
  gate.inFlight += 1;
  if (gate.inFlight > deps.limits.requestsPerTenant) throw overLimit();
  passage.databaseId = route.databaseId;
  requireSchema(deps, gate, route);
  const { pools, region } = deps;
  passage.inner = createTenantRequest({ pools, breaker: gate.breaker, region, requestId }, route);
  return passage.inner;
}

/** A tenant that the app cannot serve gets an error for its traffic: gates have to see it. */
function requireSchema(deps: MiddlewareDeps, gate: Gate, route: LocalRoute): void {
  try {
    requireFit(deps, route);
  } catch (error) {
    gate.outOfRange += 1;
    throw error;
  }
}

/** The answer is sent or the client has left: whatever the handler still runs is cut off. */
function over(deps: MiddlewareDeps, deadlines: Deadlines<TenantRequest>, passage: Passage): void {
  const { request, response, gate, inner, databaseId } = passage;
  const status = response.statusCode;
  if (inner !== undefined) {
    deadlines.delete(inner);
    endTenantRequest(inner, requestIsOver, false);
  }
  if (gate !== undefined) {
    gate.inFlight -= 1;
    if (status >= 500) gate.answers.serverError += 1;
    else if (status >= 400) gate.answers.clientError += 1;
    else gate.answers.ok += 1;
  }
  const durationMs = performance.now() - passage.startedAt;
  if (databaseId !== undefined) deps.reporter.count(databaseId, durationMs, status >= 500);
  deps.onRequest?.({
    requestId: passage.requestId,
    tenant: gate?.slug,
    method: request.method,
    path: pathOf(request.originalUrl),
    status,
    durationMs,
    aborted: !response.writableFinished,
  });
}

function pathOf(url: string): string {
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
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
