import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { AppReport, AppReportAnswer } from '../../../contract/app.ts';
import { LATENCY_BUCKETS, latencyBucket } from '../../../contract/latency.ts';
import { SILENT_MINUTES_MAX } from '../../../control-plane/apps/app.ts';
import { countSilence, forgetOldReports, liveInstances } from '../../../control-plane/apps/store.ts';
import { trafficOf } from '../../../control-plane/apps/traffic.ts';
import { apiClient } from '../../support/api.ts';
import { startMiniFleet, type MiniFleet, type TestTenant } from '../tenant-app/mini-fleet.ts';

const MINUTE_MS = 60_000;

function latencies(...all: number[]): number[] {
  const counts = new Array<number>(LATENCY_BUCKETS).fill(0);
  for (const ms of all) counts[latencyBucket(ms)]! += 1;
  return counts;
}

describe('reports of tenant apps', () => {
  let fleet: MiniFleet;
  let acme: TestTenant;
  let globex: TestTenant;
  /** In which the test begins. */
  let minute = 0;
  const instant = (minutes: number): Date => new Date(minute + minutes * MINUTE_MS);

  before(async () => {
    fleet = await startMiniFleet();
    acme = await fleet.addTenant('acme');
    globex = await fleet.addTenant('globex', { region: 'us' });
  });
  after(() => fleet.stop());
  beforeEach(async () => {
    minute = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS;
    await fleet.registry.query('TRUNCATE app_traffic, app_instances');
  });

  function reportOf(fields: Partial<AppReport> = {}): AppReport {
    return {
      instance: randomUUID(),
      sequence: 1,
      appVersion: '2.4.0',
      acceptsSchema: { min: '0002_idempotency_keys', max: null },
      acknowledged: null,
      stopping: false,
      window: { from: instant(-3).toISOString(), to: instant(-2).toISOString() },
      databases: [],
      ...fields,
    };
  }
  const post = (report: unknown, region = 'eu', as = region) =>
    apiClient(fleet.url, fleet.tokens[as] ?? '').call<AppReportAnswer & { code?: string }>(
      'POST',
      `/api/v1/regions/${region}/reports`,
      report,
    );
  const traffic = (from: Date, to: Date, ids = [acme.databaseId]) => trafficOf(fleet.registry, ids, from, to);
  const ofAcme = (errors: number, ...ms: number[]) => ({
    database: acme.databaseId,
    errors,
    latency: latencies(...ms),
  });

  it('add up over instances, and each counts once however often it comes', async () => {
    const one = reportOf({ databases: [ofAcme(1, 4, 4, 4)] });
    assert.deepEqual((await post(one)).body, { counted: true, ignored: [] });
    assert.deepEqual((await post(one)).body, { counted: false, ignored: [] });
    const again = { ...one, sequence: 2 };
    const answers = await Promise.all([post(again), post(again), post(again)]);
    assert.equal(answers.filter(({ body }) => body.counted).length, 1);
    // Sent before the one above, and delivered behind it.
    assert.equal((await post(one)).body.counted, false);
    await post(reportOf({ databases: [ofAcme(0, 400)] }));
    const found = await traffic(instant(-10), instant(0));
    assert.deepEqual({ requests: found.requests, errors: found.errors }, { requests: 7, errors: 2 });
    assert.ok((found.p95Ms ?? 0) > 300 && (found.p95Ms ?? 0) <= 500, String(found.p95Ms));
  });

  it('leave out databases of other regions and unknown ones alike, and say so', async () => {
    const unknown = randomUUID();
    const foreign = { ...ofAcme(0, 5), database: globex.databaseId };
    const answer = await post(
      reportOf({ databases: [ofAcme(0, 5), foreign, { ...foreign, database: unknown }] }),
    );
    assert.equal(answer.status, 200);
    assert.deepEqual([...answer.body.ignored].sort(), [globex.databaseId, unknown].sort());
    assert.equal((await traffic(instant(-10), instant(0), [globex.databaseId, unknown])).requests, 0);
    assert.equal((await traffic(instant(-10), instant(0))).requests, 1);
  });

  it('are taken from an app of the region only, and from no instance of another one', async () => {
    assert.equal((await post(reportOf(), 'eu', 'us')).status, 403);
    const one = reportOf();
    await post(one);
    const stolen = await post({ ...one, sequence: 2 }, 'us');
    assert.deepEqual([stolen.status, stolen.body.code], [409, 'instance_elsewhere']);
  });

  it('are refused when they contradict themselves or come from a clock that is wrong', async () => {
    const tooMany = reportOf({ databases: [ofAcme(2, 5)] });
    const twice = reportOf({ databases: [ofAcme(0, 5), ofAcme(0, 5)] });
    const version = reportOf({ appVersion: 'v2' });
    const ahead = reportOf({ window: { from: instant(9).toISOString(), to: instant(10).toISOString() } });
    for (const report of [tooMany, twice, version, ahead]) assert.equal((await post(report)).status, 422);
    assert.deepEqual(await liveInstances(fleet.registry), []);
  });

  it('count for a time only by the windows that are wholly in it, and by what is known of the present one', async () => {
    const window = (from: number) => ({
      from: instant(from).toISOString(),
      to: instant(from + 1).toISOString(),
    });
    const instance = randomUUID();
    for (const [index, from] of [-3, -2, 0].entries()) {
      const report = { instance, sequence: index + 1, window: window(from), databases: [ofAcme(0, 5)] };
      await post(reportOf(report));
    }
    assert.equal((await traffic(instant(-3), instant(-1))).requests, 2);
    assert.equal((await traffic(instant(-2.5), instant(-1))).requests, 1);
    assert.equal((await traffic(instant(-3), instant(-1.5))).requests, 1, 'half of a minute says nothing');
    assert.equal((await traffic(instant(-3), new Date(Date.now() + 1_000))).requests, 3);
    assert.deepEqual(await traffic(instant(-60), instant(-50)), { requests: 0, errors: 0, p95Ms: null });
  });

  it('keep an instance for running until it says goodbye or was not heard for minutes', async () => {
    const [ends, dies, lives] = [reportOf(), reportOf(), reportOf()];
    for (const report of [ends, dies, lives]) await post(report);
    const names = async () => (await liveInstances(fleet.registry)).map(({ id }) => id).sort();
    assert.equal((await names()).length, 3);
    await post({ ...ends, sequence: 2, stopping: true });
    assert.deepEqual(await names(), [dies.instance, lives.instance].sort());
    for (let minutes = 0; minutes < SILENT_MINUTES_MAX; minutes += 1) {
      await fleet.registry.query(
        `UPDATE app_instances SET counted_at = now() - interval '1 hour', last_seen = now() - interval '1 hour'
          WHERE id = $1`,
        [dies.instance],
      );
      assert.ok((await names()).includes(dies.instance), `after ${minutes} minutes`);
      await countSilence(fleet.registry);
      await countSilence(fleet.registry);
    }
    assert.deepEqual(await names(), [lives.instance]);
    await post({ ...dies, sequence: 2 });
    assert.deepEqual(await names(), [dies.instance, lives.instance].sort(), 'heard again');
  });

  it('are forgotten after a day', async () => {
    const report = reportOf({ databases: [ofAcme(0, 5)], stopping: true });
    await post(report);
    await forgetOldReports(fleet.registry);
    assert.equal((await traffic(instant(-10), instant(0))).requests, 1);
    await fleet.registry.query("UPDATE app_traffic SET starts_at = starts_at - interval '1 day'");
    await fleet.registry.query("UPDATE app_instances SET last_seen = last_seen - interval '25 hours'");
    await forgetOldReports(fleet.registry);
    const { rows } = await fleet.registry.query(
      'SELECT 1 FROM app_traffic UNION ALL SELECT 2 FROM app_instances',
    );
    assert.equal(rows.length, 0);
  });
});
