import assert from 'node:assert/strict';
import { liveInstances } from '../../../control-plane/apps/store.ts';
import { trafficOf } from '../../../control-plane/apps/traffic.ts';
import type { TenantApp } from '../../../tenant-app/tenant-app.ts';
import { callTenant } from '../../support/api.ts';
import { until } from '../../support/until.ts';
import { onServer, startMiniFleet, type MiniFleet, type TestTenant } from './mini-fleet.ts';

const REPORTS = { everyMs: 50, windowMs: 200 };

describe('a tenant app and its schemas', () => {
  let fleet: MiniFleet;
  let app: TenantApp;
  let acme: TestTenant;
  let other: TestTenant;

  before(async () => {
    fleet = await startMiniFleet();
    acme = await fleet.addTenant('acme');
    other = await fleet.addTenant('other');
    await publish('0001_projects_and_tasks', '0002_idempotency_keys');
    app = await fleet.startApp({ appVersion: '2.4.0', reports: REPORTS });
  });
  after(() => fleet.stop());

  async function publish(...names: string[]): Promise<void> {
    await fleet.registry.query(
      `INSERT INTO migrations (name, ordinal, checksum, up_sql, phase, transactional)
       SELECT name, (SELECT count(*) FROM migrations) + at, 'c', '', 'expand', true
         FROM unnest($1::text[]) WITH ORDINALITY AS u (name, at)`,
      [names],
    );
  }
  const standAt = (tenant: TestTenant, schema: string | null) =>
    fleet.registry.query('UPDATE databases SET schema_version = $2 WHERE id = $1', [
      tenant.databaseId,
      schema,
    ]);
  const ask = (tenant: TestTenant, path = '/api/v1/whoami', of = app) =>
    callTenant<{ code?: string; detail?: string }>(of.url, tenant.host, 'GET', path);
  const answers = (tenant: TestTenant, status: number, of = app) =>
    until(`${tenant.slug} is answered with ${status}`, async () => {
      const answer = await ask(tenant, '/api/v1/whoami', of);
      return answer.status === status ? answer : undefined;
    });
  const traffic = (tenant: TestTenant, from: Date) =>
    trafficOf(fleet.registry, [tenant.databaseId], from, new Date(Date.now() + 1_000));

  /** When it begins, at that instant: what was asked before is of another one. */
  async function nextWindow(): Promise<Date> {
    const from = (Math.floor(Date.now() / REPORTS.windowMs) + 1) * REPORTS.windowMs;
    await until('the next window begins', async () => Date.now() >= from);
    return new Date(from);
  }

  it('refuses the tenant whose schema lacks what it needs, and no other', async () => {
    await standAt(acme, '0001_projects_and_tasks');
    const refused = await answers(acme, 503);
    assert.equal(refused.body.code, 'schema_out_of_range');
    assert.ok(Number(refused.headers['retry-after']) > 0);
    assert.equal(
      refused.body.detail,
      "version 2.4.0 of this app needs 0002_idempotency_keys; this tenant's database is at 0001_projects_and_tasks",
    );
    assert.equal((await ask(other)).status, 200);
    const metrics = await fetch(`${app.url}/metrics`, {
      headers: { authorization: `Bearer ${fleet.tokens['eu']}` },
    });
    const counted = /schema_out_of_range_total\{tenant="(.+?)".*\} (\d+)/.exec(await metrics.text());
    assert.deepEqual([counted?.[1], Number(counted?.[2]) > 0], ['acme', true]);
    await standAt(acme, '0002_idempotency_keys');
    await answers(acme, 200);
  });

  it('refuses a tenant that is ahead of it, by migrations published while it runs', async () => {
    const old = await fleet.startApp({ acceptsSchema: { max: '0002_idempotency_keys' } });
    await answers(other, 200, old);
    await publish('0003_contract');
    await standAt(other, '0003_contract');
    const refused = await answers(other, 503, old);
    assert.equal(refused.body.code, 'schema_out_of_range');
    assert.equal((await ask(acme, '/api/v1/whoami', old)).status, 200);
    assert.equal((await ask(other)).status, 200, 'the app without an upper bound goes on');
    await standAt(other, '0002_idempotency_keys');
    await old.stop();
  });

  it('reports version, range and what each tenant got, 5xx as errors and 4xx not', async () => {
    const from = await nextWindow();
    for (let request = 0; request < 5; request += 1) await ask(acme);
    await ask(acme, '/api/v1/nothing-here');
    await onServer('eu', `ALTER DATABASE ${acme.database} ALLOW_CONNECTIONS false`);
    await onServer('eu', 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [
      acme.database,
    ]);
    await until('a request fails', async () => (await ask(acme)).status === 503);
    await onServer('eu', `ALTER DATABASE ${acme.database} ALLOW_CONNECTIONS true`);
    const found = await until('it is reported', async () => {
      const now = await traffic(acme, from);
      return now.requests >= 7 && now.errors >= 1 ? now : undefined;
    });
    assert.ok(found.errors < found.requests && (found.p95Ms ?? 0) > 0);
    assert.equal((await traffic(other, from)).requests, 0);
    const [instance] = await liveInstances(fleet.registry);
    assert.deepEqual(
      [instance?.region, instance?.version, instance?.acceptsSchema],
      ['eu', '2.4.0', { min: '0002_idempotency_keys', max: null }],
    );
  });

  it('serves on without the control plane, and reports what was meanwhile', async () => {
    await answers(acme, 200);
    await fleet.stopHttp();
    const from = await nextWindow();
    for (let request = 0; request < 20; request += 1) assert.equal((await ask(acme)).status, 200);
    await fleet.startHttp();
    await until('all are known', async () => (await traffic(acme, from)).requests === 20);
  });

  it('says goodbye when it stops', async () => {
    await app.stop();
    assert.deepEqual(await liveInstances(fleet.registry), []);
  });
});
