import assert from 'node:assert/strict';
import type { CreatedKey } from '../../contract/access.ts';
import type { Problem } from '../../contract/problem.ts';
import { join } from 'node:path';
import { renderMigrations } from '../../fleet-cli/release/render.ts';
import { projectRoot } from '../../platform/project.ts';
import { apiClient } from '../support/api.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';

interface Case {
  name: string;
  method: string;
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
  status: number;
  code: string;
}

const migration = (name: string, upSql: string) => ({ name, file: `${name}.sql`, upSql, downSql: null });

const CASES: Case[] = [
  {
    name: 'a wrong slug',
    method: 'POST',
    path: '/api/v1/tenants',
    body: { slug: 'No Good', region: 'eu' },
    status: 422,
    code: 'invalid_request',
  },
  {
    name: 'a reserved slug',
    method: 'POST',
    path: '/api/v1/tenants',
    body: { slug: 'admin', region: 'eu' },
    status: 422,
    code: 'invalid_request',
  },
  {
    name: 'an SQL injection as slug',
    method: 'POST',
    path: '/api/v1/tenants',
    body: { slug: 'x"; DROP ROLE fleet_admin; --', region: 'eu' },
    status: 422,
    code: 'invalid_request',
  },
  {
    name: 'an unknown field',
    method: 'POST',
    path: '/api/v1/tenants',
    body: { slug: 'fine', region: 'eu', colour: 'red' },
    status: 422,
    code: 'invalid_request',
  },
  {
    name: 'an unknown region',
    method: 'POST',
    path: '/api/v1/tenants',
    body: { slug: 'fine', region: 'mars' },
    status: 404,
    code: 'region_not_found',
  },
  {
    name: 'a taken slug',
    method: 'POST',
    path: '/api/v1/tenants',
    body: { slug: 'taken', region: 'eu' },
    status: 409,
    code: 'slug_taken',
  },
  {
    name: 'no room: no dedicated server',
    method: 'POST',
    path: '/api/v1/tenants',
    body: { slug: 'bigcorp', region: 'eu', tier: 'enterprise' },
    status: 409,
    code: 'no_room',
  },
  {
    name: 'an unknown tenant',
    method: 'GET',
    path: '/api/v1/tenants/nobody',
    status: 404,
    code: 'tenant_not_found',
  },
  {
    name: 'a delete without its confirmation',
    method: 'DELETE',
    path: '/api/v1/tenants/taken?confirm=other',
    status: 422,
    code: 'confirmation_required',
  },
  {
    name: 'a stale If-Match',
    method: 'PATCH',
    path: '/api/v1/tenants/taken',
    body: { name: 'x' },
    headers: { 'if-match': '"999"' },
    status: 412,
    code: 'version_conflict',
  },
  {
    name: 'an edited migration',
    method: 'POST',
    path: '/api/v1/releases',
    body: { migrations: [migration('0001_projects_and_tasks', 'SELECT 1')] },
    status: 409,
    code: 'migration_edited',
  },
  {
    name: 'a rollout of an unknown release',
    method: 'POST',
    path: '/api/v1/rollouts',
    body: { release: 'nothing' },
    status: 404,
    code: 'release_not_found',
  },
  {
    name: 'a rollout with an unknown key',
    method: 'POST',
    path: '/api/v1/rollouts',
    body: { release: 'x', wavez: [] },
    status: 422,
    code: 'invalid_request',
  },
  {
    name: 'an unknown rollout',
    method: 'GET',
    path: '/api/v1/rollouts/00000000-0000-4000-8000-000000000000',
    status: 404,
    code: 'rollout_not_found',
  },
  {
    name: 'an id that is none',
    method: 'GET',
    path: '/api/v1/rollouts/abc',
    status: 422,
    code: 'invalid_request',
  },
  { name: 'an unknown path', method: 'GET', path: '/api/v1/nothing', status: 404, code: 'not_found' },
];

describe('bad input', function () {
  this.timeout(60_000);
  let fleet: Fleet;

  before(async () => {
    fleet = await startFleet();
    await fleet.createTenant('taken');
  });
  after(() => fleet.stop());

  for (const item of CASES) {
    it(`${item.name}: ${item.status} ${item.code}, and nothing changes`, async () => {
      const before = await fingerprint();
      const answer = await fleet.admin.call<Problem>(item.method, item.path, item.body, item.headers);
      assert.equal(answer.body.code, item.code, JSON.stringify(answer.body));
      assert.equal(answer.status, item.status);
      assert.match(answer.headers['content-type'] ?? '', /application\/problem\+json/);
      assert.ok(answer.body.detail.length > 10);
      assert.ok(answer.body.requestId.length > 0);
      assert.equal(await fingerprint(), before);
    });
  }

  it('SQL with an error: 422 that names the file and line, and nothing changes', async () => {
    const before = await fingerprint();
    const migrations = await renderMigrations(join(projectRoot(), 'migrations', 'tenant'));
    const broken = migration('0900_bad', '-- a comment\nCREATE TABEL x ()');
    const answer = await fleet.admin.call<Problem>('POST', '/api/v1/releases', {
      migrations: [...migrations, broken],
    });
    assert.deepEqual([answer.status, answer.body.code], [422, 'migration_invalid']);
    assert.equal(answer.body.errors?.[0]?.path, '0900_bad.sql (up):2');
    assert.equal(await fingerprint(), before);
  });

  it('malformed JSON: 400', async () => {
    const response = await fetch(`${fleet.url}/api/v1/tenants`, {
      method: 'POST',
      headers: { authorization: `Bearer ${fleet.adminToken}`, 'content-type': 'application/json' },
      body: '{"slug": ',
    });
    assert.equal(response.status, 400);
    assert.equal(((await response.json()) as Problem).code, 'malformed_json');
  });

  it('no key, a made-up key: 401', async () => {
    for (const token of ['', 'flt_nothing_nothing', 'x'.repeat(10_000)]) {
      const answer = await apiClient(fleet.url, token).call<Problem>('GET', '/api/v1/tenants');
      assert.equal(answer.status, 401);
      assert.equal(answer.body.code, 'unauthenticated');
    }
  });

  it("a viewer's key and another region's key: 403", async () => {
    const viewer = await fleet.admin.ok<CreatedKey>('POST', '/api/v1/keys', {
      name: 'looker',
      role: 'viewer',
    });
    const usOnly = await fleet.admin.ok<CreatedKey>('POST', '/api/v1/keys', {
      name: 'us-ops',
      role: 'operator',
      regions: ['us'],
    });
    const before = await fingerprint();
    const asViewer = await apiClient(fleet.url, viewer.token).call<Problem>('POST', '/api/v1/tenants', {
      slug: 'fine',
      region: 'eu',
    });
    assert.deepEqual([asViewer.status, asViewer.body.code], [403, 'forbidden']);
    const asUs = apiClient(fleet.url, usOnly.token);
    const elsewhere = await asUs.call<Problem>('POST', '/api/v1/tenants', { slug: 'fine', region: 'eu' });
    assert.deepEqual([elsewhere.status, elsewhere.body.code], [403, 'region_forbidden']);
    assert.deepEqual((await asUs.ok<{ items: unknown[] }>('GET', '/api/v1/tenants')).items, []);
    assert.equal((await asUs.call('GET', '/api/v1/tenants/taken')).status, 403);
    assert.equal(await fingerprint(), before);
  });

  /** All that a refused request must leave alone. */
  async function fingerprint(): Promise<string> {
    const { rows } = await fleet.registry.query<{ all: string }>(
      `SELECT md5(concat_ws('|', (SELECT json_agg(t ORDER BY id) FROM tenants t), (SELECT json_agg(d ORDER BY id) FROM databases d),
         (SELECT count(*) FROM operations), (SELECT count(*) FROM releases), (SELECT count(*) FROM migrations),
         (SELECT count(*) FROM rollouts), (SELECT count(*) FROM secret_versions), (SELECT seq FROM audit_head))) AS all`,
    );
    return rows[0]?.all ?? '';
  }
});
