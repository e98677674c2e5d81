import { isDeepStrictEqual } from 'node:util';
import type { Request, RequestHandler, Response } from 'express';
import type { z } from 'zod';
import type { Permission } from '../../contract/access.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Authenticate } from '../access/authenticate.ts';
import type { Caller } from '../access/caller.ts';
import { requirePermission } from '../access/role.ts';
import type { Registry, Transaction } from '../registry/registry.ts';
import { readJson } from './body.ts';
import { readOnce, type RunChange, type Sent } from './idempotency.ts';
import { factsOf } from './observe.ts';
import type { Answer, Call, Route, StreamRoute } from './route.ts';
import { parseIfMatch, strictQuery, validate } from './validate.ts';

export interface ServeDeps {
  registry: Registry;
  authenticate: Authenticate;
  runChange: RunChange;
  /** Whether answers are checked against their schemas; in tests. */
  checkAnswers: boolean;
}

/** Serves a route: who, may they, what do they send, do it, answer. */
export function serveRoute(route: Route, deps: ServeDeps): RequestHandler {
  const query = strictQuery(route.query);
  return async (request, response) => {
    const caller = await admit(request, response, route, deps.authenticate);
    const body = route.body === undefined ? undefined : await readJson(request, response);
    const [params, parsedQuery, parsedBody] = validate([
      { name: 'path', schema: route.params, value: request.params },
      { name: 'query', schema: query, value: request.query },
      { name: 'body', schema: route.body, value: body },
    ]);
    const call = {
      params,
      query: parsedQuery,
      body: parsedBody,
      caller,
      requestId: factsOf(response).requestId,
      ifMatch: route.etag === true ? parseIfMatch(request.get('if-match')) : undefined,
    };
    const work = async (tx: Transaction): Promise<Sent> =>
      prepare(route, await route.handle({ ...call, tx }), deps.checkAnswers);
    const once =
      route.method === 'get' ? undefined : readOnce(request, caller, body, route.sensitive === true);
    const sent = await (route.method === 'get' ? work(readOnly(deps.registry)) : deps.runChange(once, work));
    send(response, sent);
  };
}

/** Serves an event stream. `shared`: a plain route has the same path, and gets what does not ask for events. */
export function serveStream(route: StreamRoute, deps: ServeDeps, shared: boolean): RequestHandler {
  const query = strictQuery(route.query);
  return async (request, response, next) => {
    if (shared && request.get('accept')?.includes('text/event-stream') !== true) {
      next('route');
      return;
    }
    const caller = await admit(request, response, route, deps.authenticate);
    factsOf(response).stream = true;
    const [params, parsedQuery] = validate([
      { name: 'path', schema: route.params, value: request.params },
      { name: 'query', schema: query, value: request.query },
    ]);
    const { requestId } = factsOf(response);
    endWithKey(request, response, deps.authenticate);
    await route.stream({ params, query: parsedQuery, caller, requestId, request, response });
  };
}

/** With the 3 s for which a key is cached: a stream outlives its key by at most the 5 s that are promised. */
const STREAM_KEY_CHECK_MS = 2_000;

/** A stream may last for days: it ends when its key is revoked or expires. */
function endWithKey(request: Request, response: Response, authenticate: Authenticate): void {
  const timer = setInterval(() => {
    authenticate(request.get('authorization')).catch((error: unknown) => {
      // Only a verdict counts: while the registry is away nothing is known, and apps need their feed.
      if (error instanceof FleetError && error.status === 401) response.destroy();
    });
  }, STREAM_KEY_CHECK_MS);
  response.once('close', () => clearInterval(timer));
  // A client that left while its key was checked has closed already.
  if (response.destroyed) clearInterval(timer);
}

async function admit(
  request: Request,
  response: Response,
  route: { id: string; permission: Permission },
  authenticate: Authenticate,
): Promise<Caller> {
  const facts = factsOf(response);
  facts.route = route.id;
  const caller = await authenticate(request.get('authorization'));
  facts.caller = caller.name;
  requirePermission(caller, route.permission);
  return caller;
}

function readOnly(registry: Registry): Call<unknown, unknown, unknown>['tx'] {
  return {
    query: (text, values) => registry.query(text, values),
    beforeCommit: () => {
      throw new Error('a GET route has no transaction to commit');
    },
  };
}

function prepare(route: Route, answer: Answer, check: boolean): Sent {
  const text = answer.body === undefined ? null : JSON.stringify(answer.body);
  if (check) checkAnswer(route, text);
  return {
    status: answer.status ?? route.status,
    headers: {
      ...answer.headers,
      ...(answer.version === undefined ? {} : { ETag: `"${answer.version}"` }),
    },
    text,
  };
}

/** Finds answers that miss a field or show one that the contract does not have. */
function checkAnswer(route: Route, text: string | null): void {
  const body: unknown = text === null ? undefined : JSON.parse(text);
  if (route.response === undefined) {
    if (text !== null) throw new Error(`${route.id} answers a body that it does not declare`);
    return;
  }
  const parsed: z.ZodSafeParseResult<unknown> = route.response.safeParse(body);
  if (!parsed.success) throw new Error(`${route.id} answers not as declared: ${parsed.error.message}`);
  if (!isDeepStrictEqual(parsed.data, body)) {
    throw new Error(`${route.id} answers fields that it does not declare: ${text ?? ''}`);
  }
}

function send(response: Response, sent: Sent): void {
  // Answers belong to one caller and one moment: no cache on the way may keep them.
  response.status(sent.status).set('Cache-Control', 'no-store').set(sent.headers);
  if (sent.text === null) response.end();
  else response.type('application/json').send(sent.text);
}
