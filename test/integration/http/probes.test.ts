import assert from 'node:assert/strict';
import { openApiDocument } from '../../../control-plane/http/openapi.ts';
import { createHttpApp } from '../../../control-plane/http/app.ts';
import { openRegistry } from '../../../control-plane/registry/registry.ts';
import { apiClient } from '../../support/api.ts';
import { quietLogger } from '../../support/registry.ts';
import { until } from '../../support/until.ts';
import { listen, startTestApp, thingRoutes, type TestApp } from './http-app.ts';

describe('probes and request lines', () => {
  let app: TestApp;
  let problems: string[] = [];
  const slices = [thingRoutes()];

  before(async () => {
    app = await startTestApp(
      () => slices,
      async () => problems,
    );
  });
  after(() => app.stop());

  const get = (path: string, headers: Record<string, string> = {}) => fetch(`${app.url}${path}`, { headers });

  it('says without a key that it is alive and whether it can serve', async () => {
    assert.equal((await get('/healthz')).status, 200);
    assert.equal((await get('/readyz')).status, 200);
    problems = ['the registry cannot be reached'];
    const not = await get('/readyz');
    assert.deepEqual([not.status, await not.json()], [503, { status: 'not ready', problems }]);
    problems = [];
  });

  it('serves its own description', async () => {
    const response = await get('/api/openapi.json');
    assert.deepEqual(await response.json(), openApiDocument(slices));
  });

  it('counts answers by route id, never by path', async () => {
    await app.admin.ok('GET', '/api/v1/things/41');
    await app.admin.ok('GET', '/api/v1/things/42');
    const text = await until('both are counted', async () => {
      const page = await (await get('/metrics')).text();
      return /http_requests_total\{route="getThing",method="GET",status="200"\} 2/.test(page) && page;
    });
    assert.match(text, /http_request_duration_seconds_bucket\{le="0.002",route="getThing"/);
    assert.match(text, /process_cpu_user_seconds_total/);
    assert.doesNotMatch(text, /things\/4/);
  });

  it('sends the headers that protect a browser, and lets nobody cache', async () => {
    const { headers } = await app.admin.call('GET', '/api/v1/things/1');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(headers['x-powered-by'], undefined);
  });

  it('keeps a sane request id and makes one otherwise', async () => {
    const id = async (sent: string) =>
      (await get('/healthz', { 'x-request-id': sent })).headers.get('x-request-id');
    assert.equal(await id('build-7:step.2'), 'build-7:step.2');
    for (const bad of ['a b', 'x'.repeat(101), '"}{"', '']) {
      assert.match((await id(bad)) ?? '', /^[0-9a-f-]{36}$/);
    }
  });

  it('logs one line for each request, with who and what, without the token', async () => {
    const headers = { 'x-request-id': 'line-1' };
    await app.admin.ok('GET', '/api/v1/things/5?limit=1', undefined, headers);
    const line = await until('the line', async () => app.logged.find((text) => text.includes('"line-1"')));
    const { durationMs, timestamp, ...rest } = JSON.parse(line);
    assert.ok(typeof durationMs === 'number' && typeof timestamp === 'string');
    assert.deepEqual(rest, {
      program: 'test',
      level: 'info',
      message: 'request',
      requestId: 'line-1',
      method: 'GET',
      path: '/api/v1/things/5',
      route: 'getThing',
      status: 200,
      caller: 'the-admin',
    });
    for (const token of Object.values(app.keys)) assert.ok(!app.logged.join('').includes(token));
  });

  it('speaks low of what apps say every few seconds, unless it is refused', async () => {
    const thing = thingRoutes().routes.find(({ id }) => id === 'getThing');
    assert.ok(thing);
    const { url, keys, logged, stop } = await startTestApp(() => [
      { routes: [{ ...thing, id: 'reportApp' }] },
    ]);
    const levelOf = async (id: string, token: string): Promise<string> => {
      await apiClient(url, token).call('GET', '/api/v1/things/5?limit=1', undefined, { 'x-request-id': id });
      const line = await until('the line', async () => logged.find((text) => text.includes(`"${id}"`)));
      return JSON.parse(line).level;
    };
    assert.equal(await levelOf('quiet-1', keys.admin), 'debug');
    assert.equal(await levelOf('loud-1', 'flt_nobody'), 'info');
    await stop();
  });

  it('answers 503 when the registry is down', async () => {
    const registry = openRegistry('postgres://nobody@127.0.0.1:1/none', quietLogger);
    const { url, close } = await listen(
      createHttpApp({ registry, logger: quietLogger, slices, ready: async () => [] }),
    );
    const answer = await apiClient(url, app.keys.admin).call<{ code: string }>('GET', '/api/v1/things/1');
    assert.deepEqual([answer.status, answer.body.code], [503, 'registry_unavailable']);
    await close();
    await registry.close();
  });

  it('answers 503 to a request whose registry connection is cut, and goes on', async () => {
    const { test, url, keys, stop } = await startTestApp((registry) => [
      {
        routes: [
          {
            ...(thingRoutes().routes[0] ?? assert.fail()),
            handle: async ({ tx }) => {
              const { rows } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
              await registry.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid]);
              await tx.query('SELECT 1');
              return {};
            },
          },
        ],
      },
    ]);
    const cut = () => apiClient(url, keys.admin).call('POST', '/api/v1/things', { name: 'x' });
    assert.equal((await cut()).status, 503);
    assert.equal((await cut()).status, 503);
    assert.equal((await test.registry.query('SELECT 1')).rowCount, 1);
    await stop();
  });
});
