import assert from 'node:assert/strict';
import type { GateMeasurement } from '../../contract/gate.ts';
import type { Rollout } from '../../contract/rollout.ts';
import { serve } from '../integration/rollouts/gates-fleet.ts';
import type { Child } from '../support/child.ts';
import { addTestServer, startFleet, type Fleet } from '../support/fleet.ts';
import { startWorkerProcess, workerIsReady } from '../support/fleet-processes.ts';
import { until } from '../support/until.ts';

const BAKE = '60s';
/** Five times the bake. */
const AWAY = '5 minutes';
const MIGRATION = { name: '0001_a', upSql: 'CREATE TABLE a (id int)' };

describe('7: all controllers stop in a bake', function () {
  this.timeout(60_000);
  let fleet: Fleet;
  let page: { url: string; close(): Promise<void> };
  const workers: Child[] = [];

  before(async () => {
    page = await serve((_request, response) => void response.writeHead(200).end());
    fleet = await startFleet({ role: 'api', publish: false });
    await Promise.all([startWorker(), startWorker()]);
    await addTestServer(fleet, 'eu');
    await Promise.all(['acme', 'bolt'].map((slug) => fleet.createTenant(slug)));
    await publish([MIGRATION]);
  });
  after(async () => {
    await killWorkers();
    await fleet.stop();
    await page.close();
  });

  it('and start again after it: it was neither lost nor is it begun anew', async () => {
    const { id } = await start({});
    const { bakeUntil } = await baking(id);
    await killWorkers();
    await startWorker();
    // As long as it lasts, whoever looks leaves it to the same instant.
    for (const verb of ['pause', 'resume'])
      await fleet.admin.ok('POST', `/api/v1/rollouts/${id}/${verb}`, {});
    const asleep = await until('the next owner has left it to its end', async () => {
      const { rows } = await fleet.registry.query<{ at: Date | null }>(
        `SELECT wake_at AS at FROM rollouts WHERE id = $1`,
        [id],
      );
      return rows[0]?.at ?? undefined;
    });
    assert.deepEqual([asleep.toISOString(), (await read(id)).waves[0]?.bakeUntil], [bakeUntil, bakeUntil]);

    await killWorkers();
    await letTimePass();
    const away = await read(id);
    assert.deepEqual([away.waves[0]?.state, away.counts.pending], ['baking', 1]);
    await startWorker();
    const done = await until('it is over', async () => {
      const rollout = await read(id);
      return rollout.state === 'running' ? undefined : rollout;
    });
    assert.deepEqual([done.state, done.cause], ['succeeded', null]);
    assert.equal(done.waves[0]?.bakeUntil, away.waves[0]?.bakeUntil);
    assert.deepEqual(
      done.targets.map(({ tries }) => tries),
      [1, 1],
    );
  });

  it('and with them the gate’s samples: too few to pass, it waits for a person', async () => {
    await publish([MIGRATION, { name: '0002_b', upSql: 'CREATE TABLE b (id int)' }]);
    const { id } = await start({
      gates: { probe: { http: page.url, interval: '10s', inconclusiveLimit: 2 } },
    });
    await baking(id);
    const samples = async () =>
      (await fleet.admin.ok<{ items: GateMeasurement[] }>('GET', `/api/v1/rollouts/${id}/measurements`))
        .items;
    await until('the gate has measured', async () => (await samples()).length > 0);
    await killWorkers();
    await letTimePass();
    await startWorker();
    const paused = await until('somebody has looked', async () => {
      const rollout = await read(id);
      return rollout.state === 'running' ? undefined : rollout;
    });
    assert.deepEqual([paused.state, paused.cause?.code], ['paused', 'gate_inconclusive']);
    assert.match(paused.cause?.message ?? '', /of them because nobody measured; it bears 2/);
    assert.deepEqual([paused.waves[0]?.state === 'passed', paused.waves[1]?.state], [false, 'pending']);
    assert.equal(paused.counts.pending, 1);
    assert.ok(
      (await samples()).every(({ outcome }) => outcome === 'success'),
      'what was measured was well',
    );
  });

  async function startWorker(): Promise<void> {
    const worker = startWorkerProcess(fleet);
    workers.push(worker);
    await workerIsReady(worker);
  }

  async function killWorkers(): Promise<void> {
    await Promise.all(workers.splice(0).map((worker) => worker.kill('SIGKILL')));
  }

  async function publish(migrations: { name: string; upSql: string }[]): Promise<void> {
    const rendered = migrations.map((draft) => ({ downSql: null, file: `${draft.name}.sql`, ...draft }));
    const name = `r${migrations.length}`;
    await fleet.admin.ok('POST', '/api/v1/releases', { name, migrations: rendered });
  }

  async function start(more: { gates?: object }): Promise<Rollout> {
    const canary = { name: 'canary', count: 1, bake: BAKE, gates: Object.keys(more.gates ?? {}) };
    const { items } = await fleet.admin.ok<{ items: { name: string }[] }>('GET', '/api/v1/releases');
    return fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts', {
      ...more,
      release: items[0]?.name,
      waves: [canary, { name: 'rest' }],
    });
  }

  const read = (id: string) => fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);

  function baking(id: string): Promise<Rollout['waves'][number]> {
    return until('the canary bakes', async () => {
      const [canary] = (await read(id)).waves;
      return canary?.state === 'baking' ? canary : undefined;
    });
  }

  /**
   * The same as waiting: nobody is at work, and all that is remembered of time is instants in the registry, which
   * lie further back when it has passed.
   */
  async function letTimePass(): Promise<void> {
    assert.equal(workers.length, 0);
    const { rows } = await fleet.registry.query<{ table: string; columns: string[] }>(
      `SELECT table_name AS table, array_agg(column_name::text) AS columns FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type = 'timestamp with time zone'
          AND (table_name LIKE 'rollout%' OR table_name = 'leases') GROUP BY 1`,
    );
    const moves = rows.map(({ table, columns }) => ({
      table,
      sets: columns.map((column) => `${column} = ${column} - $1::interval`),
    }));
    moves.push({ table: 'graphile_worker._private_jobs', sets: ['run_at = run_at - $1::interval'] });
    for (const { table, sets } of moves) {
      await fleet.registry.query(`UPDATE ${table} SET ${sets.join(', ')}`, [AWAY]);
    }
  }
});
