import express, { type Express, type RequestHandler } from 'express';
import helmet from 'helmet';
import type { Registry as MetricsRegistry } from 'prom-client';
import { FleetError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import { createAuthenticator } from '../access/authenticate.ts';
import type { Registry } from '../registry/registry.ts';
import { createRunChange } from './idempotency.ts';
import { createHttpMetrics } from './metrics.ts';
import { answerNotFound, answerProblems, factsOf, observeRequests } from './observe.ts';
import { openApiDocument } from './openapi.ts';
import type { SliceRoutes } from './route.ts';
import { serveRoute, serveStream, type ServeDeps } from './serve.ts';

export interface HttpAppOptions {
  registry: Registry;
  logger: Logger;
  slices: SliceRoutes[];
  /** What keeps this process from serving; empty when it can. */
  ready: () => Promise<string[]>;
  /** Metrics of the process that are shown too; absent: only those of HTTP and Node. */
  metrics?: MetricsRegistry;
  /** Whether each answer is checked against its schema: in tests. */
  checkAnswers?: boolean;
}

/** The API as an Express application: knows no slice, only the routes that it is given. */
export function createHttpApp(options: HttpAppOptions): Express {
  const { registry, logger, slices } = options;
  const metrics = createHttpMetrics(options.metrics);
  const app = express();
  // Our ETags are versions; Express would make others from the bytes.
  app.set('etag', false);
  app.use(observeRequests(logger, metrics), helmet());
  mountProbes(app, options.ready, metrics.serve);
  mountDocument(app, slices);
  mountSlices(app, slices, {
    registry,
    authenticate: createAuthenticator(registry),
    runChange: createRunChange(registry),
    checkAnswers: options.checkAnswers ?? false,
  });
  app.use(answerNotFound, answerProblems(logger));
  return app;
}

/** Open to everyone who reaches the port, as orchestrators and Prometheus expect: they name no tenant. */
function mountProbes(app: Express, ready: () => Promise<string[]>, metrics: RequestHandler): void {
  app.get('/healthz', named('healthz'), (_request, response) => {
    response.json({ status: 'alive' });
  });
  app.get('/readyz', named('readyz'), async (_request, response) => {
    const problems = await ready();
    response
      .status(problems.length === 0 ? 200 : 503)
      .json({ status: problems.length === 0 ? 'ready' : 'not ready', problems });
  });
  app.get('/metrics', named('metrics'), metrics);
}

function mountDocument(app: Express, slices: SliceRoutes[]): void {
  let text: string | undefined;
  app.get('/api/openapi.json', named('openapi'), (_request, response) => {
    text ??= JSON.stringify(openApiDocument(slices));
    response.type('application/json').send(text);
  });
}

function named(route: string): RequestHandler {
  return (_request, response, next) => {
    factsOf(response).route = route;
    next();
  };
}

function mountSlices(app: Express, slices: SliceRoutes[], deps: ServeDeps): void {
  const routes = slices.flatMap((slice) => slice.routes).sort(bySpecificity);
  const streams = slices.flatMap((slice) => slice.streams ?? []).sort(bySpecificity);
  const readable = new Set(routes.filter((route) => route.method === 'get').map((route) => route.path));
  for (const stream of streams) {
    app.get(expressPath(stream.path), serveStream(stream, deps, readable.has(stream.path)));
  }
  for (const route of routes) app[route.method](expressPath(route.path), serveRoute(route, deps));
  for (const [path, methods] of methodsByPath([
    ...routes,
    ...streams.map((stream) => ({ path: stream.path, method: 'get' })),
  ])) {
    app.all(expressPath(path), refuseMethod([...methods].sort()));
  }
}

/** `/keys/{id}` → `/keys/:id` */
function expressPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}

/** Fixed words before parameters: `/rollouts/plan` must not be taken for the rollout named `plan`. */
function bySpecificity(a: { path: string }, b: { path: string }): number {
  const order = (path: string): string => path.replaceAll('{', '\u{10ffff}');
  return order(a.path) < order(b.path) ? -1 : 1;
}

function methodsByPath(routes: { path: string; method: string }[]): Map<string, Set<string>> {
  const methods = new Map<string, Set<string>>();
  for (const { path, method } of routes) {
    methods.set(path, (methods.get(path) ?? new Set()).add(method.toUpperCase()));
  }
  return methods;
}

function refuseMethod(methods: string[]): RequestHandler {
  return (request, response) => {
    response.set('Allow', methods.join(', '));
    throw new FleetError({
      code: 'method_not_allowed',
      status: 405,
      message: `${request.method} is not possible here, only ${methods.join(', ')}`,
    });
  };
}
