import { randomUUID } from 'node:crypto';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import pRetry from 'p-retry';
import type { z } from 'zod';
import { Problem } from '../contract/problem.ts';
import { pageOf } from '../contract/page.ts';
import { CliError } from './errors.ts';
import { EXIT, exitCodeOfStatus } from './exit.ts';
import { interrupted, unreachable } from './transport-errors.ts';

/** 30 s: every request only writes to the registry; long work goes on behind an operation. */
const REQUEST_TIMEOUT_MS = 30_000;

/** Two more tries bridge a moment of overload or a connection that was cut. */
const RETRIES = 2;
/** 200 ms, then 400 ms, as a busy registry needs; at most twice a second while nothing listens. */
const RETRY_AFTER_MS = 200;
const MAX_RETRY_AFTER_MS = 500;

/** The largest page that the API gives: fewest round trips for commands that read everything. */
const PAGE_LIMIT = 500;

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';
export type Query = Record<string, string | number | boolean | string[] | undefined>;

export interface ApiRequest {
  method: Method;
  /** With leading slash; made by `path` so that names are escaped. */
  path: string;
  query?: Query | undefined;
  body?: unknown;
  /** Value for If-Match: an ETag as it was received. */
  ifMatch?: string | undefined;
  /** Fail at once when nothing listens: the caller asks again itself. */
  impatient?: boolean;
  /** The answer as it came, also where people read it. */
  raw?: boolean;
}

export interface Reply<T> {
  status: number;
  body: T;
  etag: string | undefined;
  /** The operation that goes on behind a 202. */
  operationId: string | undefined;
  requestId: string | undefined;
  /** The server's clock, from the Date header. */
  date: Date | undefined;
}

export interface Client {
  url: string;
  send: <T>(request: ApiRequest, schema: z.ZodType<T>) => Promise<Reply<T>>;
  get: <T>(path: string, schema: z.ZodType<T>, query?: Query) => Promise<Reply<T>>;
  /** All items over all pages, at most `limit`. */
  list: <T>(path: string, item: z.ZodType<T>, query?: Query, limit?: number) => Promise<T[]>;
  /** Server-sent events until the stream ends or `signal` aborts; `signal` alone ends it, so it has to carry Ctrl-C. */
  events: (path: string, signal: AbortSignal) => AsyncGenerator<EventSourceMessage>;
}

export interface ClientOptions {
  url: string;
  token: string | undefined;
  /** Ctrl-C. */
  signal: AbortSignal;
  /** Milliseconds; REQUEST_TIMEOUT_MS when absent. */
  timeoutMs?: number | undefined;
  /**
   * Milliseconds for which a GET is repeated while nothing listens or the connection is cut: a control plane that
   * was killed is started again. 0 when absent. Changes are not repeated then: they may have been carried out.
   */
  graceMs?: number | undefined;
  /** What is done to each answer before anybody sees it; absent: it is handed on as it came. */
  clean?: (<T>(body: T) => T) | undefined;
  /** Receives messages for people, such as that the control plane is being waited for. */
  note?: ((line: string) => void) | undefined;
  /** Receives one line for each request; never a token or a body. */
  debug?: ((line: string) => void) | undefined;
}

/** Builds an API path and escapes what is put into it: path`/api/v1/tenants/${slug}`. */
export function path(parts: TemplateStringsArray, ...names: string[]): string {
  return String.raw({ raw: parts }, ...names.map((name) => encodeURIComponent(name)));
}

/** The API of one control plane. Error answers become CliErrors with the exit code of their status. */
export function createClient(options: ClientOptions): Client {
  const send = async <T>(request: ApiRequest, schema: z.ZodType<T>): Promise<Reply<T>> => {
    const idempotencyKey = request.method === 'POST' ? randomUUID() : undefined;
    const attempt = () => sendOnce(options, request, schema, idempotencyKey);
    // A POST is repeated under its key; PATCH and DELETE are not, as a second one could meet its own effect.
    if (request.method !== 'GET' && request.method !== 'POST') return await attempt();
    const waitForRestart = restartWaiter(options, request);
    return await pRetry(attempt, {
      retries: Infinity,
      minTimeout: RETRY_AFTER_MS,
      maxTimeout: MAX_RETRY_AFTER_MS,
      signal: options.signal,
      shouldRetry: ({ error, attemptNumber }) =>
        error instanceof CliError &&
        ((error.retryable && attemptNumber <= RETRIES) || (error.away && waitForRestart())),
    });
  };
  const get = <T>(at: string, schema: z.ZodType<T>, query?: Query) =>
    send({ method: 'GET', path: at, query }, schema);
  return {
    url: options.url,
    send,
    get,
    list: (at, item, query, limit) => listAll(get, at, item, query ?? {}, limit),
    events: (at, signal) => readEvents(options, at, signal),
  };
}

/** Answers, at each failure, whether the grace time lasts yet; says so the first time. */
function restartWaiter({ url, graceMs = 0, note }: ClientOptions, request: ApiRequest): () => boolean {
  const mayWait = request.method === 'GET' && request.impatient !== true;
  let until: number | undefined;
  return () => {
    if (!mayWait || graceMs === 0) return false;
    if (until === undefined)
      note?.(`the control plane at ${url} does not answer; asking again for ${graceMs / 1_000} s`);
    until ??= Date.now() + graceMs;
    return Date.now() < until;
  };
}

async function listAll<T>(
  get: <P>(at: string, schema: z.ZodType<P>, query?: Query) => Promise<Reply<P>>,
  at: string,
  item: z.ZodType<T>,
  query: Query,
  limit = Number.POSITIVE_INFINITY,
): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const page = await get(at, pageOf(item), {
      ...query,
      cursor,
      limit: Math.min(PAGE_LIMIT, limit - items.length),
    });
    items.push(...page.body.items);
    cursor = page.body.nextCursor ?? undefined;
  } while (cursor !== undefined && items.length < limit);
  return items;
}

async function sendOnce<T>(
  options: ClientOptions,
  request: ApiRequest,
  schema: z.ZodType<T>,
  idempotencyKey: string | undefined,
): Promise<Reply<T>> {
  const started = performance.now();
  const response = await exchange(options, request, {
    Accept: 'application/json, application/problem+json',
    ...(request.method === 'GET' ? {} : { 'Content-Type': 'application/json' }),
    ...(idempotencyKey === undefined ? {} : { 'Idempotency-Key': idempotencyKey }),
    ...(request.ifMatch === undefined ? {} : { 'If-Match': request.ifMatch }),
  });
  const requestId = response.headers.get('x-request-id') ?? undefined;
  const elapsed = Math.round(performance.now() - started);
  options.debug?.(`${request.method} ${request.path} ${response.status} ${elapsed}ms ${requestId ?? ''}`);
  const text = await response.text().catch((error: unknown) => {
    throw unreachable(options.url, error);
  });
  const body: unknown = isJson(response) && text !== '' ? parseJson(text) : text === '' ? undefined : text;
  if (!response.ok) throw problemError(response.status, body, requestId);
  const checked = checkedBody(schema, body, requestId);
  const date = response.headers.get('date');
  return {
    status: response.status,
    body: request.raw === true || options.clean === undefined ? checked : options.clean(checked),
    etag: response.headers.get('etag') ?? undefined,
    operationId: operationOf(response.headers.get('location')),
    requestId,
    date: date === null ? undefined : new Date(date),
  };
}

async function exchange(
  options: ClientOptions,
  request: ApiRequest,
  headers: Record<string, string>,
  stream?: AbortSignal,
): Promise<Response> {
  try {
    return await fetch(options.url + request.path + queryText(request.query), {
      method: request.method,
      headers: {
        ...headers,
        'User-Agent': 'fleet-cli',
        ...(options.token === undefined ? {} : { Authorization: `Bearer ${options.token}` }),
      },
      ...(request.method === 'GET' ? {} : { body: JSON.stringify(request.body ?? {}) }),
      signal: stream ?? briefSignal(options),
      // Following a redirect would carry the token to wherever it points.
      redirect: 'error',
    });
  } catch (error) {
    if (options.signal.aborted) throw interrupted('the request may or may not have been carried out');
    throw unreachable(options.url, error);
  }
}

/** Only for requests that end soon: Node 20 forgets combined signals of long-lived ones. */
function briefSignal({ signal, timeoutMs }: ClientOptions): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(timeoutMs ?? REQUEST_TIMEOUT_MS)]);
}

async function* readEvents(
  options: ClientOptions,
  at: string,
  signal: AbortSignal,
): AsyncGenerator<EventSourceMessage> {
  const response = await exchange(
    options,
    { method: 'GET', path: at },
    { Accept: 'text/event-stream' },
    signal,
  );
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw problemError(response.status, undefined, response.headers.get('x-request-id') ?? undefined);
  }
  const received: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => received.push(event) });
  const decoder = new TextDecoder();
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  // Cancelling ends the connection by itself, even where fetch has lost sight of the signal.
  const cancel = () => void reader.cancel().catch(() => undefined);
  signal.addEventListener('abort', cancel);
  try {
    while (!signal.aborted) {
      const { value, done } = await reader.read();
      if (done) return;
      parser.feed(decoder.decode(value, { stream: true }));
      yield* received.splice(0);
    }
  } finally {
    signal.removeEventListener('abort', cancel);
    cancel();
  }
}

/** The body is checked but handed on as it came: a newer server's fields are not lost on the way to the user. */
function checkedBody<T>(schema: z.ZodType<T>, body: unknown, requestId: string | undefined): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return (typeof body === 'object' ? body : parsed.data) as T;
  throw new CliError({
    code: 'unexpected_answer',
    exitCode: EXIT.failed,
    message: 'the control plane gave an answer that this version of fleet does not understand',
    fix: 'compare `fleet version` with the control plane and update the older one',
    requestId,
    errors: parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message })),
  });
}

function problemError(status: number, body: unknown, requestId: string | undefined): CliError {
  const problem = Problem.safeParse(body);
  const retryable = status === 502 || status === 503 || status === 504;
  const exitCode = exitCodeOfStatus(status);
  if (!problem.success) {
    const message = `the control plane answered with status ${status}`;
    return new CliError({ code: `http_${status}`, exitCode, message, requestId, retryable });
  }
  const { code, detail, fix, errors } = problem.data;
  return new CliError({
    code,
    exitCode,
    message: detail,
    fix,
    errors,
    retryable,
    requestId: problem.data.requestId,
  });
}

function queryText(query: Query | undefined): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) search.append(name, String(one));
  }
  return search.size === 0 ? '' : `?${search.toString()}`;
}

function operationOf(location: string | null): string | undefined {
  return location === null ? undefined : /\/operations\/([^/?]+)$/.exec(location)?.[1];
}

function isJson(response: Response): boolean {
  return /[/+]json\b/.test(response.headers.get('content-type') ?? '');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
