import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { Problem } from '../../../contract/problem.ts';
import { callTenant } from '../../support/api.ts';
import { until } from '../../support/until.ts';
import type { TenantApp } from '../../../tenant-app/tenant-app.ts';
import { startMiniFleet, type MiniFleet, type TestTenant } from './mini-fleet.ts';

interface Item {
  id: string;
  name: string;
  version: number;
}

describe('tenant app', () => {
  let fleet: MiniFleet;
  let app: TenantApp;
  let acme: TestTenant;
  let globex: TestTenant;

  before(async () => {
    fleet = await startMiniFleet();
    acme = await fleet.addTenant('acme');
    globex = await fleet.addTenant('globex', { region: 'us' });
    app = await fleet.startApp();
  });
  after(() => fleet.stop());

  const call = <T = Item>(method: string, path: string, body?: unknown, headers?: Record<string, string>) =>
    callTenant<T>(app.url, acme.host, method, path, body, headers);

  it('answers whoami from the database itself', async () => {
    const answer = await call<object>('GET', '/api/v1/whoami');
    assert.deepEqual(answer.body, {
      tenant: 'acme',
      region: 'eu',
      database: acme.database,
      schemaVersion: '0002_idempotency_keys',
    });
  });

  it('refuses what is not its own, without a connection to any database', async () => {
    const before = app.routing.stats().connections;
    const refusals: [string, number, string][] = [
      ['nobody.eu.localhost', 404, 'tenant_not_found'],
      [globex.host, 421, 'wrong_region'],
      ['ac me', 400, 'bad_host'],
      ['127.0.0.1', 404, 'tenant_not_found'],
    ];
    for (const [host, status, code] of refusals) {
      const answer = await callTenant<{ code: string; url?: string; requestId: string }>(
        app.url,
        host,
        'GET',
        '/api/v1/whoami',
      );
      assert.equal(answer.status, status, host);
      assert.equal(answer.body.code, code);
      assert.equal(answer.headers['content-type'], 'application/problem+json; charset=utf-8');
      assert.equal(answer.headers['x-request-id'], answer.body.requestId);
      if (status === 421) assert.equal(answer.body.url, 'http://us.example.test');
      assert.ok(!JSON.stringify(answer.body).includes(globex.id));
    }
    const header = await callTenant(app.url, 'nobody.eu.localhost', 'GET', '/api/v1/whoami', undefined, {
      'x-tenant-id': acme.id,
      'x-forwarded-host': acme.host,
    });
    assert.equal(header.status, 404);
    assert.equal(app.routing.stats().connections, before);
  });

  it('refuses two Host headers', async () => {
    const text = await new Promise<string>((resolve, reject) => {
      const socket = connect(app.port, '127.0.0.1');
      let received = '';
      socket.on('data', (chunk) => (received += chunk.toString()));
      socket.on('error', reject);
      socket.on('close', () => resolve(received));
      socket.write(
        `GET /api/v1/whoami HTTP/1.1\r\nHost: ${acme.host}\r\nHost: x.eu.localhost\r\nConnection: close\r\n\r\n`,
      );
    });
    assert.match(text, /^HTTP\/1\.1 400 /);
  });

  it('answers 423 while suspended and 503 with Retry-After while moving', async () => {
    const hooli = await fleet.addTenant('hooli');
    const status = (host: string) => callTenant<object>(app.url, host, 'GET', '/api/v1/whoami');
    for (const [state, expected] of [
      ['active', 200],
      ['suspended', 423],
      ['active', 200],
      ['moving', 503],
      ['active', 200],
    ] as const) {
      await fleet.registry.query('UPDATE tenants SET state = $2 WHERE id = $1', [hooli.id, state]);
      const answer = await until(`${state} is in effect`, async () => {
        const found = await status(hooli.host);
        return found.status === expected && found;
      });
      assert.equal(answer.headers['retry-after'], expected === 503 ? '2' : undefined);
    }
  });

  it('creates, reads, changes and deletes projects under their version', async () => {
    const made = await call('POST', '/api/v1/projects', { name: 'Launch', description: 'soon' });
    assert.equal(made.status, 201);
    assert.equal(made.headers['location'], `/api/v1/projects/${made.body.id}`);
    assert.equal(made.headers['etag'], '"1"');
    const path = `/api/v1/projects/${made.body.id}`;
    const stale = { 'if-match': '"1"' };
    const changed = await call('PATCH', path, { name: 'Landing', description: null }, stale);
    assert.equal(changed.body.version, 2);
    assert.equal((changed.body as unknown as { description: null }).description, null);
    assert.equal((await call('PATCH', path, { name: 'Late' }, stale)).status, 412);
    assert.equal((await call('PATCH', path, { name: 'x' }, { 'if-match': 'W/"x"' })).status, 400);
    assert.equal((await call('DELETE', path, undefined, stale)).status, 412);
    assert.equal((await call('DELETE', path, undefined, { 'if-match': '"2"' })).status, 204);
    for (const method of ['GET', 'DELETE']) assert.equal((await call(method, path)).status, 404);
    assert.equal((await call('PATCH', path, { name: 'x' })).status, 404);
    assert.equal((await call('GET', '/api/v1/projects/no-uuid')).status, 404);
  });

  it('names each field of bad input', async () => {
    const bad = await call<{ code: string; errors: { path: string }[] }>('POST', '/api/v1/projects', {
      name: '',
      more: 1,
    });
    assert.equal(bad.status, 400);
    assert.equal(bad.body.code, 'invalid_request');
    assert.ok(bad.body.errors.some((error) => error.path === 'name'));
    assert.equal((await call('GET', '/api/v1/projects?limit=0')).status, 400);
    assert.equal((await call('GET', '/api/v1/projects?cursor=abc')).status, 400);
    assert.equal((await call('GET', '/api/v1/nothing')).status, 404);
    const broken = await call<{ code: string }>('POST', '/api/v1/projects', 'text', {
      'content-type': 'application/json',
    });
    assert.equal(broken.status, 400);
  });

  it('refuses what it cannot serve with a problem that says what it can', async () => {
    const id = '00000000-0000-4000-8000-000000000000';
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    const refusals: [string, string, Record<string, string>, number, string, string?][] = [
      ['POST', '/api/v1/projects', form, 415, 'unsupported_media_type'],
      ['PATCH', `/api/v1/projects/${id}/tasks/${id}`, form, 415, 'unsupported_media_type'],
      ['PUT', '/api/v1/projects', {}, 405, 'method_not_allowed', 'GET, HEAD, OPTIONS, POST'],
      ['DELETE', `/api/v1/projects/${id}/tasks`, {}, 405, 'method_not_allowed', 'GET, HEAD, OPTIONS, POST'],
      [
        'POST',
        `/api/v1/projects/${id}`,
        form,
        405,
        'method_not_allowed',
        'DELETE, GET, HEAD, OPTIONS, PATCH',
      ],
      ['POST', '/api/v1/whoami', {}, 405, 'method_not_allowed', 'GET, HEAD, OPTIONS'],
      ['POST', '/healthz', {}, 405, 'method_not_allowed', 'GET, HEAD, OPTIONS'],
      ['POST', '/api/v1/nothing', form, 404, 'not_found'],
      ['GET', `/api/v1/projects/${id}`, {}, 404, 'project_not_found'],
    ];
    for (const [method, path, headers, status, code, allow] of refusals) {
      const body = method === 'GET' || method === 'DELETE' ? undefined : { name: 'x' };
      const answer = await call<Problem>(method, path, body, headers);
      assert.equal(answer.status, status, `${method} ${path}`);
      assert.match(answer.headers['content-type'] ?? '', /^application\/problem\+json/);
      assert.equal(Problem.parse(answer.body).code, code);
      assert.ok(answer.body.fix !== undefined && answer.body.requestId !== '');
      assert.equal(answer.headers['allow'], allow);
    }
    const options = await call('OPTIONS', '/api/v1/projects');
    assert.deepEqual([options.status, options.headers['allow']], [204, 'GET, HEAD, OPTIONS, POST']);
  });

  it('makes a thing once per Idempotency-Key, also for two requests at one moment', async () => {
    const header = { 'idempotency-key': 'key-1' };
    const both = await Promise.all(
      [1, 2, 3].map(() => call('POST', '/api/v1/projects', { name: 'Once' }, header)),
    );
    assert.equal(new Set(both.map((answer) => answer.body.id)).size, 1);
    assert.deepEqual([...new Set(both.map((answer) => answer.status))], [201]);
    assert.equal(both.filter((answer) => answer.headers['idempotency-replayed'] === 'true').length, 2);
    const other = await call<{ code: string }>('POST', '/api/v1/projects', { name: 'Other' }, header);
    assert.equal(other.status, 422);
    assert.equal(other.body.code, 'idempotency_key_reused');
  });

  it('makes tasks one by one or many at once, and pages through them in their order', async () => {
    const project = (await call('POST', '/api/v1/projects', { name: 'Many' })).body;
    const path = `/api/v1/projects/${project.id}/tasks`;
    const one = await call<{ title: string; dueOn: string }>('POST', path, {
      title: 't0',
      dueOn: '2026-12-24',
    });
    assert.equal(one.status, 201);
    assert.equal(one.body.dueOn, '2026-12-24');
    const titles = Array.from({ length: 24 }, (_, index) => `t${index + 1}`);
    const bulk = await call<{ items: { title: string }[] }>(
      'POST',
      path,
      titles.map((title) => ({ title })),
    );
    assert.deepEqual(
      bulk.body.items.map((task) => task.title),
      titles,
    );
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor === null ? '' : `&cursor=${cursor}`;
      const page = await call<{ items: { title: string }[]; nextCursor: string | null }>(
        'GET',
        `${path}?limit=7${query}`,
      );
      seen.push(...page.body.items.map((task) => task.title));
      cursor = page.body.nextCursor;
    } while (cursor !== null);
    assert.deepEqual([...seen].sort(), ['t0', ...titles].sort());
    assert.equal(seen[0], 't0');
    const none = '00000000-0000-4000-8000-000000000000';
    assert.equal((await call('POST', `/api/v1/projects/${none}/tasks`, { title: 'x' })).status, 404);
    assert.equal((await call('GET', `/api/v1/projects/${none}/tasks`)).status, 404);
    assert.equal((await call('POST', path, [{ title: 'ok' }, { title: '' }])).status, 400);
  });

  it('changes and deletes a task only under its own project', async () => {
    const [first, second] = await Promise.all(
      ['A', 'B'].map(async (name) => (await call('POST', '/api/v1/projects', { name })).body.id),
    );
    const task = (await call('POST', `/api/v1/projects/${first}/tasks`, { title: 'x' })).body;
    const done = await call<{ done: boolean }>(
      'PATCH',
      `/api/v1/projects/${first}/tasks/${task.id}`,
      { done: true },
      { 'if-match': '"1"' },
    );
    assert.equal(done.body.done, true);
    assert.equal((await call('GET', `/api/v1/projects/${second}/tasks/${task.id}`)).status, 404);
    assert.equal((await call('DELETE', `/api/v1/projects/${second}/tasks/${task.id}`)).status, 404);
    assert.equal(
      (
        await call(
          'PATCH',
          `/api/v1/projects/${first}/tasks/${task.id}`,
          { done: false },
          { 'if-match': '"1"' },
        )
      ).status,
      412,
    );
    assert.equal((await call('DELETE', `/api/v1/projects/${first}/tasks/${task.id}`)).status, 204);
  });

  it('tells its health and its own numbers to anyone, and those of tenants to operators only', async () => {
    for (const path of ['/healthz', '/readyz']) {
      assert.equal((await callTenant(app.url, '127.0.0.1', 'GET', path)).status, 200);
    }
    const open = await callTenant<string>(app.url, acme.host, 'GET', '/metrics');
    assert.doesNotMatch(open.body, /acme/);
    const { body } = await callTenant<string>(app.url, '127.0.0.1', 'GET', '/metrics', undefined, {
      authorization: `Bearer ${fleet.tokens.eu ?? ''}`,
    });
    assert.match(body, /flotilla_app_requests_total\{tenant="acme",outcome="ok",region="eu"\} \d+/);
    assert.match(body, /flotilla_app_connections\{region="eu"\} \d+/);
    assert.match(body, /flotilla_app_request_duration_seconds_count\{region="eu"\} \d+/);
  });

  it('goes on with a new credential after a rotation, and without the control plane', async () => {
    await fleet.rotate(acme);
    await fleet.stopHttp();
    const answer = await call<object>('GET', '/api/v1/whoami');
    assert.equal(answer.status, 200);
    await fleet.startHttp();
  });
});
