import assert from 'node:assert/strict';
import type { Rehearsal } from '../../contract/rehearsal.ts';
import type { Release } from '../../contract/release.ts';
import type { Rollout } from '../../contract/rollout.ts';
import { createRehearsalDriver } from '../../control-plane/rollouts/rehearsals/driver.ts';
import { withClient } from '../../platform/pg.ts';
import { rendered } from '../integration/releases/tenant-database.ts';
import type { Child } from '../support/child.ts';
import { clusters } from '../support/clusters.ts';
import { driveOnce } from '../support/drive.ts';
import { addTestServer, startFleet, type Fleet } from '../support/fleet.ts';
import { startWorkerProcess, workerIsReady } from '../support/fleet-processes.ts';
import { until } from '../support/until.ts';

/** Long enough to be seen and killed in; whoever goes on waits for it once more. */
const SLEEP_S = 0.7;

describe('a worker killed in a rehearsal', function () {
  this.timeout(60_000);
  let fleet: Fleet;
  let worker: Child;

  before(async () => {
    fleet = await startFleet({ role: 'api', publish: false });
    worker = startWorkerProcess(fleet);
    await workerIsReady(worker);
    await addTestServer(fleet, 'eu');
    await Promise.all(['here', 'copied'].map((slug) => fleet.createTenant(slug)));
    await fleet.admin.ok<Release>('POST', '/api/v1/releases', {
      name: 'slow',
      migrations: rendered('CREATE TABLE notes (id int)', {
        upSql: `SELECT pg_sleep(${SLEEP_S})`,
        transactional: false,
      }),
      baseline: { migration: '0002_m', reason: 'what is linted is not what is tested' },
    });
  });
  after(async () => {
    await worker.kill('SIGKILL');
    await fleet.stop();
  });

  /** Copies on the server, and who is at work in them. */
  async function copies(): Promise<{ name: string; busy: boolean }[]> {
    return withClient(clusters().eu.superuser, { applicationName: 'test' }, async (client) => {
      const { rows } = await client.query<{ name: string; busy: boolean }>(
        `SELECT datname AS name, EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = d.datname
                                           AND a.wait_event = 'PgSleep') AS busy
           FROM pg_database d WHERE starts_with(datname, 'fleet_rehearsal_')`,
      );
      return rows;
    });
  }

  it('leaves a copy, which the next owner drops; what it has found out is not tried again', async () => {
    const { id } = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts/plan', { release: 'slow' });
    const answer = await fleet.admin.call<Rehearsal>('POST', `/api/v1/rollouts/${id}/rehearsals`, {
      clone: ['copied'],
      maxHoldMs: 10_000,
    });
    const location = answer.headers.location ?? '';
    const read = () => fleet.admin.ok<Rehearsal>('GET', location);
    const here = (rehearsal: Rehearsal) => rehearsal.targets.find(({ tenant }) => tenant === 'here');
    const [left] = await until('the copy is at work', async () => {
      const found = await copies();
      const outcome = here(await read())?.outcome ?? null;
      return found.some(({ busy }) => busy) && outcome !== null ? found : undefined;
    });
    await worker.kill('SIGKILL');
    const before = await read();
    assert.equal(before.state, 'running');
    assert.deepEqual(
      (await copies()).map(({ name }) => name),
      [left?.name],
      'nobody has dropped it',
    );

    const { deps } = fleet.controlPlane;
    await until('the lease of the dead is free', async () => {
      const { rows } = await fleet.registry.query<{ alive: boolean }>(
        'SELECT worker_is_alive(holder) AS alive FROM leases WHERE resource = $1',
        [`rehearsal:${before.id}`],
      );
      return rows[0]?.alive === false;
    });
    await driveOnce(fleet.registry, createRehearsalDriver(deps), before.id);
    const after = await read();
    assert.equal(after.state, 'succeeded');
    assert.deepEqual(here(after), here(before));
    assert.equal(here(after)?.outcome, 'not_rehearsed');
    assert.equal(after.targets.find(({ tenant }) => tenant === 'copied')?.outcome, 'passes');
    assert.deepEqual(await copies(), []);
  });
});
