import type { Request, Response } from 'express';
import type { z } from 'zod';
import type { Permission } from '../../contract/access.ts';
import type { Caller } from '../access/caller.ts';
import type { Transaction } from '../registry/registry.ts';

/**
 * One route of the API, as data: http/ mounts it, checks key, role, schemas and idempotency, and writes the
 * OpenAPI document from it. Slices only say what it does.
 */
export interface Route<P = unknown, Q = unknown, B = unknown> {
  method: 'get' | 'post' | 'patch' | 'delete';
  /** OpenAPI form: `/api/v1/tenants/{slug}`. */
  path: string;
  /** camelCase, unique: the OpenAPI operationId. */
  id: string;
  summary: string;
  tag: string;
  permission: Permission;
  params?: z.ZodType<P>;
  query?: z.ZodType<Q>;
  body?: z.ZodType<B>;
  /** Status of success. 202 answers carry `Location: /api/v1/operations/{id}`. */
  status: 200 | 201 | 202 | 204;
  response?: z.ZodType;
  /** Whether `If-Match` is honoured (the number in the ETag). */
  etag?: boolean;
  /** Whether the answer holds a secret: its idempotency record is then sealed with the caller's own token. */
  sensitive?: boolean;
  handle: (call: Call<P, Q, B>) => Promise<Answer>;
}

/** A validated request. Every route other than GET runs in one registry transaction, `tx`. */
export interface Call<P, Q, B> {
  params: P;
  query: Q;
  body: B;
  caller: Caller;
  requestId: string;
  /** Version that `If-Match` demands; undefined when the header is absent. */
  ifMatch: number | undefined;
  /** For GET a plain connection; for all others the transaction that the answer is stored in. */
  tx: Transaction;
}

export interface Answer {
  /** Where success has another status than the route's own: nothing had to be made. */
  status?: 200;
  /** Checked against `response` in tests; sent as JSON. */
  body?: unknown;
  headers?: Record<string, string>;
  /** Sent as `ETag: "<version>"`. */
  version?: number;
}

/**
 * A server-sent event stream: not in a transaction, ends with the client. Where a GET route has the same path,
 * requests that accept `text/event-stream` come here.
 */
export interface StreamRoute<P = unknown, Q = unknown> {
  path: string;
  id: string;
  summary: string;
  tag: string;
  permission: Permission;
  params?: z.ZodType<P>;
  query?: z.ZodType<Q>;
  /** May throw a FleetError before the first byte; afterwards owns the response until it is closed. */
  stream: (call: StreamCall<P, Q>) => Promise<void>;
}

export interface StreamCall<P, Q> {
  params: P;
  query: Q;
  caller: Caller;
  requestId: string;
  request: Request;
  response: Response;
}

/** Types one route; the schemas decide what the handler receives. */
export function route<P, Q, B>(definition: Route<P, Q, B>): Route {
  // Handlers are called only with what the schemas above them returned, so the widening is sound.
  return definition as unknown as Route;
}

/** The same for a stream. */
export function streamRoute<P, Q>(definition: StreamRoute<P, Q>): StreamRoute {
  return definition as unknown as StreamRoute;
}

/** What a slice hands to main. */
export interface SliceRoutes {
  routes: Route[];
  streams?: StreamRoute[];
}

/** The answer of a call that started a durable operation. */
export function accepted(operationId: string, body: unknown): Answer {
  return { body, headers: { Location: `/api/v1/operations/${operationId}` } };
}
