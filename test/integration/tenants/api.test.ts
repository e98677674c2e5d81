import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Role } from '../../../contract/access.ts';
import type { Page } from '../../../contract/page.ts';
import type { Problem } from '../../../contract/problem.ts';
import type { Tenant } from '../../../contract/tenant.ts';
import { createKey } from '../../../control-plane/access/keys.ts';
import { createHttpApp } from '../../../control-plane/http/app.ts';
import { tenantRoutes } from '../../../control-plane/tenants/http.ts';
import { apiClient, type Api } from '../../support/api.ts';
import { quietLogger } from '../../support/registry.ts';
import { startWorld, type World } from './world.ts';

const TENANTS = '/api/v1/tenants';

describe('the API of tenants', () => {
  let world: World;
  let server: Server;
  let url: string;
  let admin: Api;

  const keyFor = async (role: Role, regions: string[] = []): Promise<Api> => {
    const { token } = await world.registry.transaction((tx) =>
      createKey(tx, { name: `${role}-${regions.join('-')}`, kind: 'user', role, regions }),
    );
    return apiClient(url, token);
  };
  const fails = async (
    api: Api,
    method: string,
    path: string,
    body: unknown,
    status: number,
    code: string,
  ) => {
    const rows = await everything(world);
    const answer = await api.call<Problem>(method, path, body);
    assert.deepEqual([answer.status, answer.body.code], [status, code], JSON.stringify(answer.body));
    assert.deepEqual(await everything(world), rows, 'nothing may have changed');
    return answer.body;
  };
  const operationOf = (headers: Record<string, string>): string => headers.location?.split('/').at(-1) ?? '';

  before(async () => {
    world = await startWorld();
    await world.publish(1);
    const app = createHttpApp({
      registry: world.registry,
      logger: quietLogger,
      slices: [tenantRoutes(world.deps)],
      ready: async () => [],
      checkAnswers: true,
    });
    server = await new Promise<Server>((resolve) => {
      const listening = app.listen(0, '127.0.0.1', () => resolve(listening));
    });
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    admin = await keyFor('admin');
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await world.stop();
  });

  it('leads a tenant through its whole life', async () => {
    const made = await admin.call<Tenant>('POST', TENANTS, {
      ...{ slug: 'acme', region: 'eu', tier: 'premium', name: 'Acme Corp' },
      ...{ labels: { canary: 'true' }, contact: 'ops@acme.test', crmRef: 'CRM-7', domains: ['acme.test'] },
    });
    assert.equal(made.status, 202);
    assert.deepEqual([made.body.state, made.body.server], ['provisioning', 'eu-1']);
    assert.equal(await world.drive(operationOf(made.headers)), 'succeeded');
    const active = await admin.call<Tenant>('GET', `${TENANTS}/acme`);
    assert.equal(active.body.state, 'active');
    assert.equal(active.headers.etag, `"${active.body.version}"`);
    assert.deepEqual(active.body, (await admin.call<Tenant>('GET', `${TENANTS}/${active.body.id}`)).body);

    const suspended = await admin.call<Tenant>('POST', `${TENANTS}/acme/suspend`, { reason: 'unpaid' });
    assert.deepEqual([suspended.status, suspended.body.state], [202, 'suspended']);
    assert.equal(suspended.body.stateCause?.message, 'unpaid');
    await fails(admin, 'POST', `${TENANTS}/acme/resume`, undefined, 409, 'operation_in_progress');
    assert.equal(await world.drive(operationOf(suspended.headers)), 'succeeded');
    await fails(admin, 'POST', `${TENANTS}/acme/suspend`, undefined, 409, 'wrong_state');
    await world.publish(1);

    const resumed = await admin.call<Tenant>('POST', `${TENANTS}/acme/resume`);
    assert.deepEqual([resumed.status, resumed.body.state], [202, 'suspended']);
    assert.equal(await world.drive(operationOf(resumed.headers)), 'succeeded');
    const back = await admin.ok<Tenant>('GET', `${TENANTS}/acme`);
    assert.deepEqual([back.state, back.stateCause], ['active', null]);

    await fails(admin, 'DELETE', `${TENANTS}/acme`, undefined, 422, 'confirmation_required');
    await fails(admin, 'DELETE', `${TENANTS}/acme?confirm=other`, undefined, 422, 'confirmation_required');
    const deleted = await admin.call<Tenant>('DELETE', `${TENANTS}/acme`, { confirm: 'acme' });
    assert.deepEqual([deleted.status, deleted.body.state], [202, 'offboarding']);
    assert.equal(await world.drive(operationOf(deleted.headers)), 'succeeded');
    await fails(admin, 'GET', `${TENANTS}/acme`, undefined, 404, 'tenant_not_found');
    const byId = await admin.ok<Tenant>('GET', `${TENANTS}/${back.id}`);
    assert.equal(byId.state, 'deleted');
    assert.deepEqual(await admin.ok<Tenant>('GET', `${TENANTS}/acme?includeDeleted=true`), byId);
    await fails(admin, 'PATCH', `${TENANTS}/${back.id}`, { name: 'x' }, 409, 'wrong_state');
  });

  it('shows what becomes of the key of a deleted tenant, keeps it, and destroys it when its time is over', async () => {
    const { id } = await world.create('vanished');
    const at = `${TENANTS}/${id}`;
    assert.equal((await admin.ok<Tenant>('GET', at)).keyDestruction, null);
    await fails(admin, 'POST', `${at}/keep-key`, undefined, 409, 'wrong_state');
    await fails(admin, 'POST', `${at}/destroy-key`, undefined, 409, 'wrong_state');
    await world.remove(id);
    const state = async () => (await admin.ok<Tenant>('GET', at)).keyDestruction?.state;
    const scheduled = (await admin.ok<Tenant>('GET', at)).keyDestruction;
    assert.deepEqual([scheduled?.state, scheduled?.retentionDays], ['scheduled', 30]);
    const inDays = (Date.parse(scheduled?.goneAt ?? '') - Date.now()) / 86_400_000;
    assert.equal(Math.round(inDays), 30);
    const kept = await admin.ok<Tenant>('POST', `${TENANTS}/vanished/keep-key`, { reason: 'audit' });
    assert.equal(kept.keyDestruction?.state, 'kept');
    await admin.ok('POST', `${at}/destroy-key`);
    assert.equal(await state(), 'scheduled');
    await world.registry.query(
      `WITH past AS (UPDATE data_keys SET destroy_at = now() WHERE owner = 'tenant:' || $1)
       UPDATE owner_destructions SET key_gone_at = now() WHERE owner = 'tenant:' || $1`,
      [id],
    );
    await world.deps.secrets.endDestructions(world.registry, quietLogger);
    assert.equal(await state(), 'destroyed');
    await fails(admin, 'POST', `${at}/keep-key`, undefined, 410, 'key_destroyed');
    const { rows } = await world.registry.query<{ action: string }>(
      "SELECT action FROM audit_log WHERE resource = 'tenant:vanished' AND action ~ 'key' ORDER BY seq",
    );
    assert.deepEqual(
      rows.map((row) => row.action),
      [
        'key.destruction_scheduled',
        'tenant.keep_key',
        'key.destruction_scheduled',
        'tenant.destroy_key',
        'key.destroyed',
      ],
    );
  });

  it('refuses what cannot be, and changes nothing', async () => {
    const create = { slug: 'globex', region: 'eu', domains: ['globex.test'] };
    const { headers } = await admin.call('POST', TENANTS, create);
    assert.equal(await world.drive(operationOf(headers)), 'succeeded');
    await fails(admin, 'POST', TENANTS, { slug: 'globex', region: 'us' }, 409, 'slug_taken');
    await fails(admin, 'POST', TENANTS, { ...create, slug: 'initech' }, 409, 'domain_taken');
    await fails(admin, 'POST', TENANTS, { slug: 'abc', region: 'mars' }, 404, 'region_not_found');
    await fails(admin, 'POST', TENANTS, { slug: 'admin', region: 'eu' }, 422, 'invalid_request');
    await fails(admin, 'POST', TENANTS, { slug: 'A b', region: 'eu' }, 422, 'invalid_request');
    for (const domain of ['us.localhost', 'x.us.localhost']) {
      const body = { slug: 'sneaky', region: 'eu', domains: [domain] };
      await fails(admin, 'POST', TENANTS, body, 422, 'domain_reserved');
    }
    const full = await fails(
      admin,
      'POST',
      TENANTS,
      { slug: 'huge', region: 'eu', tier: 'enterprise' },
      409,
      'no_room',
    );
    assert.match(full.detail, /an enterprise tenant/);
    assert.ok(full.errors?.some((finding) => finding.path === 'eu-1'));
    await fails(admin, 'GET', `${TENANTS}/nobody`, undefined, 404, 'tenant_not_found');
    await fails(admin, 'GET', `${TENANTS}?label=canary`, undefined, 422, 'invalid_label');
    await fails(admin, 'GET', `${TENANTS}?cursor=abc`, undefined, 422, 'invalid_cursor');
  });

  it('lets one of many requests for the same slug through', async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => admin.call('POST', TENANTS, { slug: 'popular', region: 'us' })),
    );
    assert.deepEqual(
      answers.map((answer) => answer.status).toSorted(),
      [202, 409, 409, 409, 409, 409, 409, 409],
    );
  });

  it('changes fields under If-Match', async () => {
    const before = await admin.ok<Tenant>('GET', `${TENANTS}/globex`);
    const change = { name: 'Globex', labels: { tierhint: 'a', old: 'x' }, contact: 'it@globex.test' };
    const headers = { 'if-match': `"${before.version}"` };
    const first = await admin.call<Tenant>('PATCH', `${TENANTS}/globex`, change, headers);
    assert.deepEqual([first.status, first.body.version], [200, before.version + 1]);
    const second = await admin.call<Problem>('PATCH', `${TENANTS}/globex`, { name: 'Other' }, headers);
    assert.deepEqual([second.status, second.body.code], [412, 'version_conflict']);
    const third = await admin.ok<Tenant>('PATCH', `${TENANTS}/globex`, {
      labels: { old: null, fresh: 'y' },
      contact: null,
      domains: ['www.globex.test'],
    });
    assert.deepEqual(third.labels, { tierhint: 'a', fresh: 'y' });
    assert.deepEqual([third.name, third.contact, third.domains], ['Globex', null, ['www.globex.test']]);
    await fails(admin, 'PATCH', `${TENANTS}/globex`, { labels: { '9bad': 'x' } }, 422, 'invalid_label');
    await fails(admin, 'PATCH', `${TENANTS}/globex`, { slug: 'other' }, 422, 'invalid_request');
    const { rows } = await world.registry.query(
      "SELECT before -> 'name' AS before, after -> 'name' AS after FROM audit_log WHERE action = 'tenant.update' ORDER BY seq LIMIT 1",
    );
    assert.deepEqual(rows, [{ before: 'globex', after: 'Globex' }]);
  });

  it('keeps a key within its regions and its role', async () => {
    const us = await keyFor('operator', ['us']);
    await fails(us, 'GET', `${TENANTS}/globex`, undefined, 403, 'region_forbidden');
    await fails(us, 'PATCH', `${TENANTS}/globex`, { name: 'x' }, 403, 'region_forbidden');
    await fails(us, 'POST', `${TENANTS}/globex/suspend`, undefined, 403, 'region_forbidden');
    await fails(us, 'DELETE', `${TENANTS}/globex?confirm=globex`, undefined, 403, 'region_forbidden');
    await fails(us, 'POST', TENANTS, { slug: 'abroad', region: 'eu' }, 403, 'region_forbidden');
    const seen = await us.ok<Page<Tenant>>('GET', TENANTS);
    assert.ok(seen.items.length > 0 && seen.items.every((tenant) => tenant.region === 'us'));
    const viewer = await keyFor('viewer');
    assert.equal((await viewer.call('POST', TENANTS, { slug: 'nope', region: 'eu' })).status, 403);
    assert.equal((await viewer.call('GET', `${TENANTS}/globex`)).status, 200);
    const onboarder = await keyFor('onboarder');
    assert.equal((await onboarder.call('DELETE', `${TENANTS}/globex?confirm=globex`)).status, 403);
  });

  describe('its list', () => {
    before(() => fill(world));

    const slugs = async (query: string, from = ''): Promise<string[]> => {
      const found: string[] = [];
      for (let cursor: string | null = from; cursor !== null;) {
        const more: string = cursor === '' ? '' : `&cursor=${cursor}`;
        const page: Page<Tenant> = await admin.ok('GET', `${TENANTS}?limit=7&${query}${more}`);
        assert.ok(page.items.length <= 7);
        found.push(...page.items.map((tenant) => tenant.slug));
        cursor = page.nextCursor;
      }
      return found;
    };

    it('pages through all, once each, in every sort', async () => {
      const all = await slugs('search=fill-');
      assert.equal(all.length, 40);
      assert.deepEqual(all, all.toSorted());
      assert.deepEqual(await slugs('search=fill-&sort=-slug'), all.toReversed());
      const created = await slugs('search=fill-&sort=createdAt');
      assert.deepEqual(created.toSorted(), all);
      assert.deepEqual(await slugs('search=fill-&sort=-createdAt'), created.toReversed());
    });

    it('stays stable while tenants come and go', async () => {
      const first = await admin.ok<Page<Tenant>>('GET', `${TENANTS}?limit=5&search=fill-`);
      await world.registry.query("UPDATE tenants SET state = 'deleted', deleted_at = now() WHERE slug = $1", [
        first.items[1]?.slug,
      ]);
      const rest = await slugs('search=fill-', first.nextCursor ?? '');
      assert.equal(rest.length, 35);
      assert.equal((await slugs('search=fill-')).length, 39);
      assert.equal((await slugs('search=fill-&includeDeleted=true')).length, 40);
      assert.deepEqual(await slugs('search=fill-&state=deleted'), [first.items[1]?.slug]);
    });

    it('filters by every field, and by all of them together', async () => {
      assert.equal((await slugs('search=fill-&region=us&includeDeleted=true')).length, 20);
      assert.equal((await slugs('search=fill-&tier=premium')).length, 10);
      assert.equal((await slugs('label=ring=2&includeDeleted=true')).length, 10);
      assert.deepEqual(await slugs('label=ring=2&label=even=true&region=us'), []);
      assert.deepEqual(await slugs('search=CRM-0031'), ['fill-31']);
      assert.deepEqual(await slugs('search=Boss%2017'), ['fill-17']);
      assert.deepEqual(await slugs('search=NAME%2022'), ['fill-22']);
      assert.deepEqual(await slugs('search=%25'), []);
      assert.deepEqual(await slugs('search=fill_1'), []);
      assert.deepEqual(await slugs('server=eu-1&search=globex'), ['globex']);
      assert.deepEqual(await slugs('server=us-1&search=globex'), []);
      assert.deepEqual(await slugs('schemaVersion=0001_m&search=globex'), ['globex']);
      assert.deepEqual(await slugs('schemaVersion=9999&search=globex'), []);
      assert.deepEqual(await slugs('state=active&tier=standard&region=eu&search=globex'), ['globex']);
      assert.equal((await admin.call('GET', `${TENANTS}?colour=red`)).status, 422);
    });

    it('refuses the cursor of another sort', async () => {
      const { nextCursor } = await admin.ok<Page<Tenant>>('GET', `${TENANTS}?limit=1`);
      const answer = await admin.call<Problem>('GET', `${TENANTS}?limit=1&sort=-slug&cursor=${nextCursor}`);
      assert.deepEqual([answer.status, answer.body.code], [422, 'invalid_cursor']);
    });
  });
});

/** 40 tenants with every other region, four tiers of labels, and some created at the same instant. */
async function fill({ registry }: World): Promise<void> {
  await registry.query(
    `INSERT INTO tenants (id, slug, name, tier, region, state, labels, contact, crm_ref, created_at)
     SELECT gen_random_uuid(), 'fill-' || lpad(n::text, 2, '0'), 'Name ' || n,
            CASE WHEN n % 4 = 0 THEN 'premium' ELSE 'standard' END,
            CASE WHEN n % 2 = 0 THEN 'eu' ELSE 'us' END, 'suspended',
            jsonb_build_object('ring', (n % 4)::text, 'even', (n % 2 = 0)::text), 'Boss ' || n,
            'CRM-' || lpad(n::text, 4, '0'), now() - (n / 3) * interval '1 microsecond'
       FROM generate_series(0, 39) n`,
  );
}

async function everything({ registry }: World): Promise<unknown> {
  const { rows } = await registry.query(
    `SELECT (SELECT jsonb_agg(t ORDER BY id) FROM tenants t) AS tenants,
            (SELECT jsonb_agg(d ORDER BY host) FROM domains d) AS domains,
            (SELECT count(*) FROM databases) AS databases, (SELECT count(*) FROM operations) AS operations,
            (SELECT count(*) FROM audit_log) AS audit, (SELECT count(*) FROM secret_versions) AS secrets`,
  );
  return rows;
}
