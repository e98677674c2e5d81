import { OpenAPIRegistry, OpenApiGeneratorV31, type RouteConfig } from '@asteasolutions/zod-to-openapi';
import { z } from 'zod';
import { productVersion } from '../../platform/project.ts';
import { rolesWith } from '../access/role.ts';
import { contractDefinitions, problemResponses, registerShared } from './components.ts';
import { repairDocument } from './openapi-repair.ts';
import type { Route, SliceRoutes, StreamRoute } from './route.ts';

const DESCRIPTION = `The API of Flotilla's control plane: PostgreSQL fleets with a database per tenant.

Lists are paged: pass \`nextCursor\` as \`cursor\` until it is null. Changes that take long answer 202 with the
\`Location\` of an operation; follow it under \`/events\` as server-sent events. Errors are RFC 9457 problems
with a stable \`code\`, what to do in \`fix\`, and the \`requestId\` under which the log knows the request.`;

const TAGS: Record<string, string> = {
  tenants: 'Customers, each with a database of its own.',
  regions: 'Where tenants and their data live.',
  servers: 'PostgreSQL servers that hold the databases.',
  secrets: "Credentials' versions and stages; never their values.",
  releases: 'Ordered, immutable sets of migrations.',
  rollouts: 'Releases on their way over the fleet, wave by wave.',
  operations: 'Long changes, step by step.',
  routes: "What a region's tenant app is told.",
  audit: 'The hash-chained log of what was done.',
  keys: 'API keys and their roles.',
  health: 'For orchestrators and monitoring; open, without a key.',
};

/** The OpenAPI 3.1 document of all routes. The same routes always give the same document. */
export function openApiDocument(slices: SliceRoutes[]): object {
  const registry = new OpenAPIRegistry();
  registerShared(registry);
  const streams = slices.flatMap((slice) => slice.streams ?? []);
  const routes = slices.flatMap((slice) => slice.routes);
  const streamed = new Map(streams.map((stream) => [stream.path, stream]));
  for (const route of routes) {
    const stream = route.method === 'get' ? streamed.get(route.path) : undefined;
    if (stream !== undefined) streamed.delete(stream.path);
    registry.registerPath(routeConfig(route, stream));
  }
  for (const stream of streamed.values()) registry.registerPath(streamConfig(stream));
  for (const probe of PROBES) registry.registerPath(probe);
  const tags = new Set([
    'health',
    ...routes.map((route) => route.tag),
    ...streams.map((stream) => stream.tag),
  ]);
  const document = generate(registry, {
    openapi: '3.1.0',
    info: {
      title: 'Flotilla',
      version: productVersion(),
      description: DESCRIPTION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/', description: 'The control plane that serves this document.' }],
    tags: [...tags].sort().map((name) => ({ name, description: TAGS[name] ?? name })),
  });
  return repairDocument({ ...document, paths: sorted(document.paths ?? {}) });
}

/**
 * A schema that the generator meets inside `.nullable()` first becomes a component that is nullable everywhere.
 * So such ones go to the front and it begins anew, until none is left; each round settles at least one.
 */
function generate(registry: OpenAPIRegistry, config: Parameters<OpenApiGeneratorV31['generateDocument']>[0]) {
  let named = contractDefinitions();
  for (;;) {
    const generator = new OpenApiGeneratorV31([
      ...named.map(({ schema }) => ({ type: 'schema' as const, schema })),
      ...registry.definitions,
    ]);
    const document = generator.generateDocument(config);
    const schemas = document.components?.schemas ?? {};
    const spoilt = named.filter(({ name }) => isNullable(schemas[name]));
    if (spoilt.length === 0) return document;
    named = [...spoilt, ...named.filter((definition) => !spoilt.includes(definition))];
  }
}

function isNullable(schema: object | undefined): boolean {
  return (
    schema !== undefined && 'type' in schema && Array.isArray(schema.type) && schema.type.includes('null')
  );
}

function sorted<T>(members: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(members).sort(([a], [b]) => (a < b ? -1 : 1)));
}

type Common = Pick<Route, 'path' | 'id' | 'summary' | 'tag' | 'permission' | 'params' | 'query'>;

function commonConfig(route: Common) {
  const roles = rolesWith(route.permission).join(', ');
  return {
    path: route.path,
    operationId: route.id,
    summary: route.summary,
    description: `Needs the permission \`${route.permission}\` (roles: ${roles}).`,
    tags: [route.tag],
    security: [{ apiKey: [] }],
    'x-permission': route.permission,
  };
}

function routeConfig(route: Route, stream: StreamRoute | undefined): RouteConfig {
  const changes = route.method !== 'get';
  return {
    ...commonConfig(route),
    method: route.method,
    request: {
      ...objects(route, stream),
      ...(route.body === undefined
        ? {}
        : {
            body: {
              required: !route.body.safeParse({}).success,
              content: { 'application/json': { schema: route.body } },
            },
          }),
    },
    parameters: [
      ...(changes ? [{ $ref: '#/components/parameters/IdempotencyKey' }] : []),
      ...(changes && route.etag === true ? [{ $ref: '#/components/parameters/IfMatch' }] : []),
    ],
    responses: { ...success(route, stream), ...problemResponses(errorStatuses(route)) },
  };
}

function success(route: Route, stream: StreamRoute | undefined): RouteConfig['responses'] {
  const header = (name: string) => ({ $ref: `#/components/headers/${name}` });
  return {
    [route.status]: {
      description: route.summary,
      headers: {
        'X-Request-Id': header('RequestId'),
        ...(route.etag === true && route.status !== 204 ? { ETag: header('Version') } : {}),
        ...(route.status === 202 ? { Location: header('OperationLocation') } : {}),
        ...(route.method === 'get' ? {} : { 'Idempotency-Replayed': header('Replayed') }),
      },
      ...(route.response === undefined
        ? {}
        : {
            content: {
              'application/json': { schema: route.response },
              ...(stream === undefined ? {} : EVENT_STREAM),
            },
          }),
    },
  };
}

const EVENT_STREAM = { 'text/event-stream': { schema: { type: 'string' as const } } };

function streamConfig(stream: StreamRoute): RouteConfig {
  return {
    ...commonConfig(stream),
    method: 'get',
    request: objects(stream, undefined),
    responses: {
      200: { description: 'Server-sent events, until either side ends them.', content: EVENT_STREAM },
      ...problemResponses([401, 403, ...(stream.params === undefined ? [] : [404]), 422, 500, 503]),
    },
  };
}

function errorStatuses(route: Route): number[] {
  return [
    ...(route.body === undefined ? [] : [400]),
    401,
    403,
    ...(route.params === undefined ? [] : [404]),
    ...(route.method === 'get' ? [] : [409]),
    ...(route.etag === true && route.method !== 'get' ? [412] : []),
    ...(route.body === undefined ? [] : [413, 415]),
    422,
    500,
    503,
  ];
}

/** Path and query as objects, which is what parameters are made of; a shared stream's query is added. */
function objects(route: Common, stream: StreamRoute | undefined): NonNullable<RouteConfig['request']> {
  const shape = { ...shapeOf(stream?.query), ...shapeOf(route.query) };
  return {
    ...(route.params instanceof z.ZodObject ? { params: route.params } : {}),
    ...(Object.keys(shape).length === 0 ? {} : { query: z.object(shape) }),
  };
}

function shapeOf(schema: z.ZodType | undefined): z.ZodRawShape {
  return schema instanceof z.ZodObject ? schema.shape : {};
}

const health = {
  method: 'get' as const,
  tags: ['health'],
  security: [],
};

const PROBES: RouteConfig[] = [
  {
    ...health,
    path: '/healthz',
    operationId: 'healthz',
    summary: 'Whether the process is alive',
    responses: { 200: jsonObject('It is alive.') },
  },
  {
    ...health,
    path: '/readyz',
    operationId: 'readyz',
    summary: 'Whether the process can serve',
    responses: { 200: jsonObject('It can serve.'), 503: jsonObject('It cannot: `problems` says why.') },
  },
  {
    ...health,
    path: '/metrics',
    operationId: 'metrics',
    summary: 'Metrics for Prometheus',
    responses: {
      200: { description: 'Text format 0.0.4.', content: { 'text/plain': { schema: { type: 'string' } } } },
    },
  },
  {
    ...health,
    path: '/api/openapi.json',
    operationId: 'openapi',
    summary: 'This document',
    responses: { 200: jsonObject('OpenAPI 3.1.') },
  },
];

function jsonObject(description: string) {
  return { description, content: { 'application/json': { schema: { type: 'object' as const } } } };
}
