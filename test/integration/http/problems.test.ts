import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { z } from 'zod';
import { Problem } from '../../../contract/problem.ts';
import { route } from '../../../control-plane/http/route.ts';
import { ConnectionLostError, FleetError } from '../../../platform/errors.ts';
import { makeThings, startTestApp, thingRoutes, type TestApp } from './http-app.ts';

const FAILURES: Record<string, () => unknown> = {
  fleet: () =>
    new FleetError({
      code: 'slug_taken',
      status: 409,
      message: 'a tenant named acme exists',
      fix: 'choose another',
      errors: [{ path: 'body.slug', message: 'taken' }],
    }),
  bug: () => new TypeError('x is undefined: flt_0123456789ab_secretsecret'),
  text: () => 'thrown text',
  lost: () => new ConnectionLostError(undefined),
  refused: () => Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }),
  restarting: () => Object.assign(new Error('x'), { code: '57P01' }),
  race: () => Object.assign(new Error('duplicate key value (name)=(s3cret)'), { code: '23505' }),
  deadlock: () => Object.assign(new Error('x'), { code: '40P01' }),
  timeout: () => Object.assign(new Error('x'), { code: '57014' }),
  value: () => Object.assign(new Error('x'), { code: '22P02' }),
  zod: () => z.number().safeParse('stored data that does not fit').error,
};

const fail = route({
  method: 'post',
  path: '/api/v1/failures/{kind}',
  id: 'fail',
  summary: 'Fail in a chosen way',
  tag: 'things',
  permission: 'tenant:create',
  params: z.object({ kind: z.string() }),
  status: 201,
  handle: async ({ params }) => {
    throw FAILURES[params.kind]?.() as Error;
  },
});

const deep = route({
  method: 'post',
  path: '/api/v1/anything',
  id: 'storeAnything',
  summary: 'Store any JSON',
  tag: 'things',
  permission: 'tenant:create',
  body: z.unknown(),
  status: 204,
  handle: async ({ tx, body }) => {
    await tx.query("INSERT INTO settings (key, value) VALUES ('x', $1::jsonb) ON CONFLICT DO NOTHING", [
      JSON.stringify(body),
    ]);
    return {};
  },
});

describe('problems', () => {
  let app: TestApp;

  before(async () => {
    app = await startTestApp(() => [thingRoutes(), { routes: [fail, deep] }]);
    await makeThings(app.registry);
  });
  after(() => app.stop());

  async function problem(
    method: string,
    path: string,
    init: RequestInit = {},
  ): Promise<Problem & { headers: Headers }> {
    const response = await fetch(`${app.url}${path}`, {
      method,
      ...init,
      headers: { authorization: `Bearer ${app.keys.admin}`, ...init.headers },
    });
    assert.equal(response.headers.get('content-type'), 'application/problem+json; charset=utf-8', path);
    const body = Problem.parse(await response.json());
    assert.equal(body.status, response.status);
    assert.equal(body.requestId, response.headers.get('x-request-id'));
    assert.equal(body.type, `urn:flotilla:problem:${body.code}`);
    return { ...body, headers: response.headers };
  }

  const expected: [kind: string, status: number, code: string][] = [
    ['fleet', 409, 'slug_taken'],
    ['bug', 500, 'internal'],
    ['text', 500, 'internal'],
    ['zod', 500, 'internal'],
    ['lost', 503, 'registry_unavailable'],
    ['refused', 503, 'registry_unavailable'],
    ['restarting', 503, 'registry_unavailable'],
    ['race', 409, 'conflict'],
    ['deadlock', 503, 'registry_busy'],
    ['timeout', 503, 'registry_busy'],
    ['value', 422, 'invalid_value'],
  ];
  for (const [kind, status, code] of expected) {
    it(`answers ${status} ${code} for the failure "${kind}"`, async () => {
      const answer = await problem('POST', `/api/v1/failures/${kind}`);
      assert.deepEqual([answer.status, answer.code], [status, code]);
      assert.equal(answer.headers.get('retry-after') !== null, status === 503);
      assert.doesNotMatch(JSON.stringify(answer), /s3cret|secretsecret|stored data/);
    });
  }

  it('passes on what a FleetError says', async () => {
    const answer = await problem('POST', '/api/v1/failures/fleet');
    assert.deepEqual([answer.title, answer.detail], ['Slug taken', 'a tenant named acme exists']);
    assert.equal(answer.fix, 'choose another');
    assert.deepEqual(answer.errors, [{ path: 'body.slug', message: 'taken' }]);
  });

  it('logs what is our fault with its cause and the request id, without its secrets', async () => {
    const answer = await problem('POST', '/api/v1/failures/bug');
    const line = app.logged.find(
      (text) => text.includes(answer.requestId) && text.includes('request failed'),
    );
    assert.match(line ?? '', /x is undefined/);
    assert.doesNotMatch(line ?? '', /secretsecret/);
  });

  const json = (body: string, headers: Record<string, string> = {}) => ({
    body,
    headers: { 'content-type': 'application/json', ...headers },
  });

  it('answers 404 and 405 for what is not there', async () => {
    const nowhere = await problem('GET', '/api/v1/nowhere');
    assert.deepEqual([nowhere.status, nowhere.code], [404, 'not_found']);
    const wrong = await problem('DELETE', '/api/v1/things/1');
    assert.deepEqual([wrong.status, wrong.code], [405, 'method_not_allowed']);
    assert.equal(wrong.headers.get('allow'), 'GET, PATCH');
    assert.equal((await problem('GET', '/api/v1/things/%E0%A4')).code, 'malformed_path');
  });

  it('names every value that is not valid', async () => {
    const body = await problem('POST', '/api/v1/things', json('{"name":"","tags":[1],"colour":"red"}'));
    assert.deepEqual([body.status, body.code], [422, 'invalid_request']);
    assert.deepEqual(body.errors?.map((error) => error.path).sort(), [
      'body.colour',
      'body.name',
      'body.tags.0',
    ]);
    const query = await problem('GET', '/api/v1/things/0?limit=none&limmit=3');
    assert.deepEqual(query.errors?.map((error) => error.path).sort(), [
      'path.id',
      'query.limit',
      'query.limmit',
    ]);
  });

  it('refuses a body that it cannot read', async () => {
    const cases: [RequestInit, number, string][] = [
      [json('{"name":'), 400, 'malformed_json'],
      [json(''), 422, 'invalid_request'],
      [json('null'), 422, 'invalid_request'],
      [
        { body: 'name=x', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
        415,
        'unsupported_media_type',
      ],
      [json('{}', { 'content-type': 'application/json; charset=klingon' }), 415, 'unsupported_media_type'],
      [json('{}', { 'content-encoding': 'gzip' }), 400, 'unreadable_body'],
      [json('{}', { 'content-encoding': 'zip' }), 415, 'unsupported_media_type'],
      [json(JSON.stringify({ name: 'x'.repeat(11 * 1024 * 1024) })), 413, 'body_too_large'],
    ];
    for (const [init, status, code] of cases) {
      const answer = await problem('POST', '/api/v1/things', init);
      assert.deepEqual([answer.status, answer.code], [status, code]);
    }
  });

  it('does not repeat a malformed body, which may hold a password', async () => {
    const answer = await problem('POST', '/api/v1/things', json('{"url": "postgres://a:hunter2@h/d" oops'));
    assert.doesNotMatch(JSON.stringify(answer), /hunter2/);
    assert.doesNotMatch(app.logged.join(''), /hunter2/);
  });

  it('takes a release of 10 MB', async () => {
    const response = await fetch(`${app.url}/api/v1/anything`, {
      method: 'POST',
      body: JSON.stringify({ sql: 'x'.repeat(10_000_000) }),
      headers: { authorization: `Bearer ${app.keys.admin}`, 'content-type': 'application/json' },
    });
    assert.equal(response.status, 204);
  });

  it('refuses keys and texts that would do harm later', async () => {
    const bodies = [
      '{"__proto__": {"isAdmin": true}}',
      '{"a": {"__proto__": {"isAdmin": true}}}',
      '{"a": "\\u0000"}',
      '{"a\\u0000": 1}',
      '{"a": "\\ud800"}',
      `${'['.repeat(100)}${']'.repeat(100)}`,
      `${'['.repeat(200_000)}${']'.repeat(200_000)}`,
    ];
    for (const body of bodies) {
      const answer = await problem('POST', '/api/v1/anything', json(body));
      assert.deepEqual([answer.status, answer.code], [422, 'invalid_request'], body.slice(0, 40));
    }
    assert.equal((await problem('GET', '/api/v1/things/1?__proto__=1')).status, 422);
    assert.equal((await problem('POST', '/api/v1/failures/%00')).status, 422);
    assert.equal(({} as { isAdmin?: boolean }).isAdmin, undefined);
  });

  it('never answers 5xx to bytes or JSON of any kind', async () => {
    const send = async (body: string | Uint8Array<ArrayBuffer>): Promise<void> => {
      for (const path of ['/api/v1/things', '/api/v1/anything']) {
        const response = await fetch(`${app.url}${path}`, {
          method: 'POST',
          body,
          headers: { authorization: `Bearer ${app.keys.admin}`, 'content-type': 'application/json' },
        });
        await response.arrayBuffer();
        assert.ok(response.status < 500, `${response.status} for ${JSON.stringify(body)}`);
      }
    };
    await fc.assert(fc.asyncProperty(fc.json({ stringUnit: 'binary' }), send), { numRuns: 80, seed: 1 });
    await fc.assert(fc.asyncProperty(fc.string({ unit: 'binary' }), send), { numRuns: 60, seed: 2 });
    for (let run = 0; run < 50; run += 1) await send(new Uint8Array(randomBytes(run)));
  });
});

describe('If-Match', () => {
  let app: TestApp;
  before(async () => {
    app = await startTestApp(() => [thingRoutes()]);
  });
  after(() => app.stop());

  it('reaches the handler as a number, from any form of our ETag', async () => {
    const answer = await app.admin.call('GET', '/api/v1/things/1');
    assert.equal(answer.headers.etag, '"7"');
    for (const [header, version] of [
      ['"7"', 7],
      ['W/"7"', 7],
      ['7', 7],
      ['*', null],
    ] as const) {
      const body = await app.admin.ok('PATCH', '/api/v1/things/1', undefined, { 'if-match': header });
      assert.deepEqual(body, { ifMatch: version });
    }
    assert.deepEqual(await app.admin.ok('PATCH', '/api/v1/things/1'), { ifMatch: null });
    for (const header of ['"abc"', '"1", "2"', '""']) {
      const refused = await app.admin.call('PATCH', '/api/v1/things/1', undefined, { 'if-match': header });
      assert.equal(refused.status, 422, header);
    }
  });
});
