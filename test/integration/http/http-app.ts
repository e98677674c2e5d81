import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';
import { ROLES, type Role } from '../../../contract/access.ts';
import { createKey } from '../../../control-plane/access/keys.ts';
import { createHttpApp } from '../../../control-plane/http/app.ts';
import { route, type Route, type SliceRoutes } from '../../../control-plane/http/route.ts';
import { openRegistry, type Registry } from '../../../control-plane/registry/registry.ts';
import { apiClient, type Api } from '../../support/api.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { freshRegistry, quietLogger, type TestRegistry } from '../../support/registry.ts';

/** The API with given routes over a registry of its own, and a key of each role. */
export interface TestApp {
  test: TestRegistry;
  registry: Registry;
  url: string;
  keys: Record<Role, string>;
  admin: Api;
  /** Every line that was logged, as text. */
  logged: string[];
  as(token: string): Api;
  stop: () => Promise<void>;
}

export async function startTestApp(
  slices: (registry: Registry) => SliceRoutes[],
  ready: () => Promise<string[]> = async () => [],
): Promise<TestApp> {
  const test = await freshRegistry();
  const { registry } = test;
  const keys = {} as Record<Role, string>;
  for (const role of ROLES) {
    const regions = role === 'app' ? ['eu'] : [];
    const kind = role === 'app' ? 'app' : 'user';
    keys[role] = (await createKey(registry, { name: `the-${role}`, kind, role, regions })).token;
  }
  const logged: string[] = [];
  const app = createHttpApp({
    registry,
    logger: recordingLogger((line) => logged.push(line)),
    slices: slices(registry),
    ready,
    checkAnswers: true,
  });
  const { url, close } = await listen(app);
  return {
    test,
    registry,
    url,
    keys,
    logged,
    admin: apiClient(url, keys.admin),
    as: (token) => apiClient(url, token),
    stop: async () => {
      await close();
      await test.drop();
    },
  };
}

/** Another process's control plane over the same registry: it shares nothing with the first but the tables. */
export async function startSecondApp(
  first: TestApp,
  slices: SliceRoutes[],
): Promise<{ admin: Api; stop: () => Promise<void> }> {
  const registry = openRegistry(first.test.url, quietLogger);
  const app = createHttpApp({ registry, logger: quietLogger, slices, ready: async () => [] });
  const { url, close } = await listen(app);
  return {
    admin: apiClient(url, first.keys.admin),
    stop: async () => {
      await close();
      await registry.close();
    },
  };
}

export async function listen(app: RequestListener): Promise<{ url: string; close: () => Promise<void> }> {
  const server = createServer(app);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

export const Thing = z.object({ id: z.int(), name: z.string() });
const CreateThing = z.strictObject({ name: z.string().min(1).max(20), tags: z.array(z.string()).optional() });

/** A tiny slice over a table of its own, and the makings of other routes. */
export async function makeThings(registry: Registry): Promise<void> {
  await registry.query('CREATE TABLE things (id serial PRIMARY KEY, name text NOT NULL UNIQUE)');
}

export function thingRoutes(overrides: Partial<Route> = {}): SliceRoutes {
  const create = route({
    method: 'post',
    path: '/api/v1/things',
    id: 'createThing',
    summary: 'Make a thing',
    tag: 'things',
    permission: 'tenant:create',
    body: CreateThing,
    status: 201,
    response: Thing,
    handle: async ({ tx, body }) => {
      const { rows } = await tx.query<{ id: number; name: string }>(
        'INSERT INTO things (name) VALUES ($1) RETURNING id, name',
        [body.name],
      );
      const id = rows[0]?.id ?? 0;
      return { body: { name: body.name, id }, version: 1, headers: { Location: `/api/v1/things/${id}` } };
    },
  });
  return { routes: [{ ...create, ...overrides }, changeThing, getThing] };
}

const ThingId = z.object({ id: z.coerce.number().int().min(1).max(2_147_483_647) });

const getThing = route({
  method: 'get',
  path: '/api/v1/things/{id}',
  id: 'getThing',
  summary: 'Show a thing',
  tag: 'things',
  permission: 'fleet:read',
  params: ThingId,
  query: z.object({ limit: z.coerce.number().int().min(1).optional() }),
  status: 200,
  response: Thing,
  handle: async ({ params }) => ({ body: { id: params.id, name: 'it' }, version: 7 }),
});

const changeThing = route({
  method: 'patch',
  path: '/api/v1/things/{id}',
  id: 'changeThing',
  summary: 'Say which version was asked for',
  tag: 'things',
  permission: 'tenant:write',
  params: ThingId,
  status: 200,
  etag: true,
  response: z.object({ ifMatch: z.number().nullable() }),
  handle: async ({ ifMatch }) => ({ body: { ifMatch: ifMatch ?? null } }),
});
