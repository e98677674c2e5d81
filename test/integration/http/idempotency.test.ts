import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { createKey } from '../../../control-plane/access/keys.ts';
import { forgetOldIdempotencyKeys } from '../../../control-plane/http/store.ts';
import { route } from '../../../control-plane/http/route.ts';
import { FleetError } from '../../../platform/errors.ts';
import { makeThings, startSecondApp, startTestApp, thingRoutes, type TestApp } from './http-app.ts';

const secretAnswer = route({
  method: 'post',
  path: '/api/v1/tokens',
  id: 'createToken',
  summary: 'Answer a secret',
  tag: 'things',
  permission: 'tenant:create',
  status: 201,
  response: z.object({ token: z.string() }),
  sensitive: true,
  handle: async () => ({ body: { token: `very-secret-${randomUUID()}` } }),
});

const refuses = route({
  method: 'post',
  path: '/api/v1/refusals',
  id: 'refuse',
  summary: 'Do something, then refuse',
  tag: 'things',
  permission: 'tenant:create',
  status: 201,
  handle: async ({ tx }) => {
    await tx.query("INSERT INTO things (name) VALUES ('refused')");
    throw new FleetError({ code: 'no_room', status: 409, message: 'no room' });
  },
});

describe('idempotency', () => {
  let app: TestApp;
  const post = (body: unknown, key: string, token = app.keys.admin) =>
    app.as(token).call<{ id: number; code?: string }>('POST', '/api/v1/things', body, {
      'idempotency-key': key,
    });

  before(async () => {
    app = await startTestApp(() => [thingRoutes(), { routes: [secretAnswer, refuses] }]);
    await makeThings(app.registry);
  });
  after(() => app.stop());

  it('has its effect once for 50 requests at once, all with the same answer', async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => post({ name: 'at-once' }, 'one-for-50')),
    );
    const { rows } = await app.registry.query("SELECT id FROM things WHERE name = 'at-once'");
    assert.equal(rows.length, 1);
    assert.deepEqual(new Set(answers.map((answer) => answer.status)), new Set([201]));
    assert.deepEqual(
      new Set(answers.map((answer) => JSON.stringify(answer.body))),
      new Set([JSON.stringify({ name: 'at-once', id: rows[0]?.id })]),
    );
    const first = answers.filter((answer) => answer.headers['idempotency-replayed'] === undefined);
    assert.equal(first.length, 1);
  });

  it('has its effect once when another control plane serves the duplicate', async () => {
    // Another process shares no memory with us: only the lock in the database holds them apart.
    const other = await startSecondApp(app, [thingRoutes()]);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (index % 2 === 0 ? app.admin : other.admin).call(
          'POST',
          '/api/v1/things',
          { name: 'two-planes' },
          {
            'idempotency-key': 'two-planes',
          },
        ),
      ),
    );
    await other.stop();
    assert.deepEqual(new Set(answers.map((answer) => answer.status)), new Set([201]));
    assert.equal(answers.filter((answer) => answer.headers['idempotency-replayed'] === undefined).length, 1);
  });

  it('replays status, body and headers', async () => {
    const first = await post({ name: 'replayed' }, 'replay');
    const second = await post({ name: 'replayed' }, 'replay');
    assert.equal(second.headers['idempotency-replayed'], 'true');
    assert.deepEqual([second.status, second.body], [first.status, first.body]);
    assert.equal(second.headers.location, first.headers.location);
    assert.equal(second.headers.etag, '"1"');
    assert.notEqual(second.headers['x-request-id'], first.headers['x-request-id']);
  });

  it('takes the order of members for the same request', async () => {
    const first = await post({ name: 'ordered', tags: ['a'] }, 'order');
    const second = await post({ tags: ['a'], name: 'ordered' }, 'order');
    assert.deepEqual([second.status, second.body], [201, first.body]);
  });

  it('refuses the key with another request', async () => {
    await post({ name: 'first-use' }, 'reused');
    const other = await post({ name: 'second-use' }, 'reused');
    assert.deepEqual([other.status, other.body.code], [422, 'idempotency_key_reused']);
    const { rows } = await app.registry.query("SELECT 1 FROM things WHERE name = 'second-use'");
    assert.equal(rows.length, 0);
  });

  it('keeps the keys of two principals apart', async () => {
    await post({ name: 'mine' }, 'shared-name');
    const theirs = await post({ name: 'theirs' }, 'shared-name', app.keys.onboarder);
    assert.equal(theirs.status, 201);
    assert.equal(theirs.headers['idempotency-replayed'], undefined);
  });

  it('does not keep errors: they changed nothing', async () => {
    const refuse = () =>
      app.admin.call('POST', '/api/v1/refusals', undefined, { 'idempotency-key': 'again' });
    assert.deepEqual([(await refuse()).status, (await refuse()).status], [409, 409]);
    const { rows } = await app.registry.query("SELECT 1 FROM things WHERE name = 'refused'");
    assert.equal(rows.length, 0);
    assert.equal((await post({ name: '' }, 'mended')).status, 422);
    assert.equal((await post({ name: 'mended' }, 'mended')).status, 201);
  });

  it('forgets a key after 24 hours', async () => {
    await post({ name: 'old' }, 'old');
    await app.registry.query(
      "UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = 'old'",
    );
    const anew = await post({ name: 'new' }, 'old');
    assert.deepEqual([anew.status, anew.headers['idempotency-replayed']], [201, undefined]);
    await app.registry.query(
      "UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = 'old'",
    );
    await forgetOldIdempotencyKeys(app.registry);
    const { rows } = await app.registry.query("SELECT 1 FROM idempotency_keys WHERE key = 'old'");
    assert.equal(rows.length, 0);
  });

  it('stores a secret answer so that only the same API key reads it again', async () => {
    const ask = (token: string) =>
      app.as(token).call<{ token?: string; code?: string }>('POST', '/api/v1/tokens', undefined, {
        'idempotency-key': 'secret',
      });
    const first = await ask(app.keys.admin);
    assert.deepEqual((await ask(app.keys.admin)).body, first.body);
    const { rows } = await app.registry.query("SELECT body::text FROM idempotency_keys WHERE key = 'secret'");
    assert.doesNotMatch(String(rows[0]?.body), /very-secret/);
    // A second key of the same principal.
    const second = await createKey(app.registry, {
      name: 'the-admin',
      kind: 'user',
      role: 'admin',
      regions: [],
    });
    const sealed = await ask(second.token);
    assert.deepEqual([sealed.status, sealed.body.code], [409, 'idempotent_answer_sealed']);
  });

  it('refuses a key that is no key', async () => {
    for (const key of ['has space', 'x'.repeat(201)]) {
      const answer = await post({ name: 'bad-key' }, key);
      assert.deepEqual([answer.status, answer.body.code], [422, 'invalid_request']);
    }
  });
});
