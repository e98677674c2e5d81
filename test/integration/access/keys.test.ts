import assert from 'node:assert/strict';
import type { ApiKey, CreatedKey } from '../../../contract/access.ts';
import type { Problem } from '../../../contract/problem.ts';
import { authenticate } from '../../../control-plane/access/authenticate.ts';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import { accessRoutes } from '../../../control-plane/access/http.ts';
import { createKey, ensureSystemPrincipal } from '../../../control-plane/access/keys.ts';
import { listEntries } from '../../../control-plane/audit/store.ts';
import { regionNotFound } from '../../../control-plane/servers/region.ts';
import { FleetError } from '../../../platform/errors.ts';
import { until } from '../../support/until.ts';
import { startTestApp, thingRoutes, type TestApp } from '../http/http-app.ts';

const REGIONS = ['eu', 'us'];

describe('API keys', () => {
  let app: TestApp;

  before(async () => {
    const requireKnownRegion = async (_db: unknown, name: string) => {
      if (!REGIONS.includes(name)) throw regionNotFound(name);
    };
    app = await startTestApp(() => [accessRoutes({ requireKnownRegion }), thingRoutes()]);
  });
  after(() => app.stop());

  const make = (body: object, token = app.keys.admin) =>
    app.as(token).call<CreatedKey & Problem>('POST', '/api/v1/keys', body);
  const use = (token: string) => app.as(token).call<Problem>('GET', '/api/v1/things/1');

  it('show their token once and are stored as a hash', async () => {
    const { body, status } = await make({ name: 'ci', role: 'operator', regions: ['eu'], expiresInDays: 30 });
    assert.equal(status, 201);
    assert.match(body.token, new RegExp(`^flt_${body.prefix}_[A-Za-z0-9_-]{43}$`));
    const days = (Date.parse(body.expiresAt ?? '') - Date.parse(body.createdAt)) / 86_400_000;
    assert.ok(Math.abs(days - 30) < 0.01);
    const { rows } = await app.registry.query('SELECT row_to_json(api_keys)::text AS row FROM api_keys');
    // The secret may hold an underscore itself.
    const secret = body.token.split('_').slice(2).join('_');
    assert.ok(rows.every((row) => !String(row.row).includes(secret)));
    const list = await app.admin.ok<{ items: ApiKey[] }>('GET', '/api/v1/keys');
    assert.deepEqual(
      list.items.find((key) => key.id === body.id),
      Object.fromEntries(Object.entries(body).filter(([name]) => name !== 'token')),
    );
    assert.equal((await use(body.token)).status, 200);
  });

  it('rotate: another one for the same use, and those before end after the overlap', async () => {
    const { body: first } = await make({
      name: 'turned',
      role: 'operator',
      regions: ['eu'],
      expiresInDays: 30,
    });
    const turn = (overlap?: string) =>
      app.admin.call<CreatedKey & Problem>(
        'POST',
        '/api/v1/keys/turned/rotate',
        overlap === undefined ? {} : { overlap },
      );
    const { body: second, status } = await turn('10m');
    assert.equal(status, 201);
    assert.deepEqual([second.name, second.role, second.regions], ['turned', 'operator', ['eu']]);
    const days = (Date.parse(second.expiresAt ?? '') - Date.parse(second.createdAt)) / 86_400_000;
    assert.ok(Math.abs(days - 30) < 0.01);
    assert.deepEqual([(await use(first.token)).status, (await use(second.token)).status], [200, 200]);
    const list = await app.admin.ok<{ items: ApiKey[] }>('GET', '/api/v1/keys');
    const endsInMs = Date.parse(list.items.find(({ id }) => id === first.id)?.expiresAt ?? '') - Date.now();
    assert.ok(endsInMs > 590_000 && endsInMs <= 600_000, String(endsInMs));
    // An answer that was lost: at once means at once, for all before.
    const { body: third } = await turn('0s');
    await until('the others have ended', async () => {
      const [one, other] = await Promise.all([use(first.token), use(second.token)]);
      return one.status === 401 && other.status === 401;
    });
    assert.equal((await use(third.token)).status, 200);
    const [entry] = await listEntries(app.registry, {
      resource: `key:${second.id}`,
      regions: null,
      limit: 9,
    });
    assert.equal(entry?.action, 'key.rotate');
    await app.admin.ok('DELETE', `/api/v1/keys/${third.id}`);
    assert.deepEqual([(await turn()).status, (await turn()).body.code], [409, 'key_is_dead']);
    const unknown = await app.admin.call<Problem>('POST', '/api/v1/keys/nobody/rotate', {});
    assert.deepEqual([unknown.status, unknown.body.code], [404, 'key_not_found']);
  });

  it('are audited without their token', async () => {
    const { body } = await make({ name: 'audited', role: 'viewer', regions: ['us'] });
    await app.admin.ok('DELETE', `/api/v1/keys/${body.id}`);
    const entries = await listEntries(app.registry, { resource: `key:${body.id}`, regions: null, limit: 9 });
    assert.deepEqual(
      entries.map((entry) => [entry.action, entry.actor, entry.region]),
      [
        ['key.revoke', 'the-admin', 'us'],
        ['key.create', 'the-admin', 'us'],
      ],
    );
    assert.doesNotMatch(JSON.stringify(entries), /flt_/);
  });

  it('die within 5 seconds of their revocation, though they are cached', async () => {
    const { body } = await make({ name: 'short-lived', role: 'viewer' });
    assert.equal((await use(body.token)).status, 200);
    const start = Date.now();
    assert.equal((await app.admin.call('DELETE', `/api/v1/keys/${body.id}`)).status, 204);
    await until('the key is refused', async () => (await use(body.token)).status === 401, 6_000);
    assert.ok(Date.now() - start <= 5_000);
    assert.equal((await use(body.token)).body.detail, 'the key was revoked');
    assert.equal((await app.admin.call('DELETE', `/api/v1/keys/${body.id}`)).status, 204);
  });

  it('stop working at the end of their time, cached or not', async () => {
    const expiresAt = new Date(Date.now() + 1_500);
    const { token } = await createKey(app.registry, {
      name: 'brief',
      kind: 'user',
      role: 'viewer',
      regions: [],
      expiresAt,
    });
    assert.equal((await use(token)).status, 200);
    await until(
      'it has expired',
      async () => (await use(token)).body.detail === 'the key has expired',
      5_000,
    );
    assert.ok(Date.now() >= expiresAt.getTime());
  });

  it('note their use at most once a minute', async () => {
    const { body } = await make({ name: 'noted', role: 'viewer' });
    const header = `Bearer ${body.token}`;
    const lastUsed = async () =>
      (await app.admin.ok<{ items: ApiKey[] }>('GET', '/api/v1/keys')).items.find((key) => key.id === body.id)
        ?.lastUsedAt;
    assert.equal(await lastUsed(), null);
    await authenticate(app.registry, header);
    const first = await lastUsed();
    assert.ok(first !== null && first !== undefined);
    await authenticate(app.registry, header);
    assert.equal(await lastUsed(), first);
    await app.registry.query(
      "UPDATE api_keys SET last_used_at = now() - interval '61 seconds' WHERE id = $1",
      [body.id],
    );
    await authenticate(app.registry, header);
    assert.ok(((await lastUsed()) ?? '') > first);
  });

  it('are refused in every wrong form with 401', async () => {
    const [, prefix = ''] = app.keys.viewer.split('_');
    const wrong = [
      '',
      'Bearer',
      'Bearer ',
      'Bearer flt_',
      `Bearer flt_${prefix}_`,
      `Bearer flt_${prefix}_${'A'.repeat(43)}`,
      `Bearer ${app.keys.viewer}x`,
      `Bearer ${app.keys.viewer} ${app.keys.admin}`,
      app.keys.viewer,
      `Basic ${app.keys.viewer}`,
    ];
    for (const header of wrong) {
      const refused = (error: unknown) => error instanceof FleetError && error.code === 'unauthenticated';
      await assert.rejects(authenticate(app.registry, header), refused, header);
    }
    const response = await fetch(`${app.url}/api/v1/things/1`);
    assert.equal(response.status, 401);
    assert.match(response.headers.get('www-authenticate') ?? '', /^Bearer/);
  });

  it('give no more than their maker has', async () => {
    const scoped = (await make({ name: 'eu-admin', role: 'admin', regions: ['eu'] })).body.token;
    const cases: [regions: string[], status: number][] = [
      [['eu'], 201],
      [[], 403],
      [['us'], 403],
      [['eu', 'us'], 403],
    ];
    for (const [regions, status] of cases) {
      const made = await make({ name: `by-eu-admin-${regions.join('-')}`, role: 'viewer', regions }, scoped);
      assert.equal(made.status, status, regions.join());
    }
    const all = await make({ name: 'everywhere', role: 'viewer' });
    assert.equal((await app.as(scoped).call('DELETE', `/api/v1/keys/${all.body.id}`)).status, 403);
    const seen = await app.as(scoped).ok<{ items: ApiKey[] }>('GET', '/api/v1/keys');
    assert.ok(seen.items.length > 0 && seen.items.every((key) => key.regions.join() === 'eu'));
  });

  it('never act under the name of another', async () => {
    await app.registry.transaction((tx) => ensureSystemPrincipal(tx));
    const once = await make({ name: 'alice', role: 'viewer' });
    await app.admin.ok('DELETE', `/api/v1/keys/${once.body.id}`);
    for (const name of ['alice', 'the-admin', SYSTEM_CALLER.name]) {
      const again = await make({ name, role: 'viewer' });
      assert.deepEqual([again.status, again.body.code], [409, 'key_name_taken']);
    }
  });

  it('say what is wrong with a request for one', async () => {
    const cases: [body: object, status: number, code: string][] = [
      [{ name: 'a', role: 'root' }, 422, 'invalid_request'],
      [{ name: '', role: 'viewer' }, 422, 'invalid_request'],
      [{ name: 'a', role: 'viewer', regions: ['atlantis'] }, 404, 'region_not_found'],
      [{ name: 'a', role: 'app' }, 422, 'invalid_request'],
      [{ name: 'a', role: 'app', regions: ['eu', 'us'] }, 422, 'invalid_request'],
      [{ name: 'a', role: 'viewer', expiresInDays: 0 }, 422, 'invalid_request'],
    ];
    for (const [body, status, code] of cases) {
      const answer = await make(body);
      assert.deepEqual([answer.status, answer.body.code], [status, code], JSON.stringify(body));
    }
    const gone = await app.admin.call<Problem>('DELETE', '/api/v1/keys/6f1c2e0a-4a52-4c0e-9a3e-1f2b7c9d8e10');
    assert.deepEqual([gone.status, gone.body.code], [404, 'key_not_found']);
  });

  it('are listed page by page, each once', async () => {
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor === null ? '' : `&cursor=${cursor}`;
      const page: { items: ApiKey[]; nextCursor: string | null } = await app.admin.ok(
        'GET',
        `/api/v1/keys?limit=3${query}`,
      );
      seen.push(...page.items.map((key) => key.id));
      cursor = page.nextCursor;
    } while (cursor !== null);
    const { rows } = await app.registry.query('SELECT count(*)::int AS count FROM api_keys');
    assert.equal(seen.length, rows[0]?.count);
    assert.equal(new Set(seen).size, seen.length);
    const bad = await app.admin.call<Problem>('GET', '/api/v1/keys?cursor=nonsense');
    assert.deepEqual([bad.status, bad.body.code], [422, 'invalid_cursor']);
  });
});
