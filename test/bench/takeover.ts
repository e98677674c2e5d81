import type { Rollout } from '../../contract/rollout.ts';
import type { Child } from '../support/child.ts';
import { addTestServer, startFleet, type Fleet } from '../support/fleet.ts';
import { startWorkerProcess, workerIsReady } from '../support/fleet-processes.ts';
import { until } from '../support/until.ts';
import { provisionMany, publishExtra } from './fleet.ts';
import { note } from './report.ts';
import { median } from './statistics.ts';

const DATABASES = 40;
const RUNS = 3;
/** Promise: the next target starts this soon after the owner's death. */
const BUDGET_MS = 3_000;

/** `kill -9` of the owner in mid rollout: time until another worker starts the next target. */
export async function benchTakeover(): Promise<void> {
  const fleet = await startFleet({ role: 'api' });
  const workers: Child[] = [];
  const start = async (): Promise<void> => {
    const worker = startWorkerProcess(fleet);
    workers.push(worker);
    await workerIsReady(worker);
  };
  try {
    await Promise.all([start(), start()]);
    await addTestServer(fleet, 'eu');
    await provisionMany(fleet, 'bench', DATABASES, 8);
    const times: number[] = [];
    for (let run = 1; run <= RUNS; run += 1) {
      times.push(await killOwner(fleet, workers, run));
      await start();
    }
    const met = median(times) <= BUDGET_MS ? 'met' : 'NOT met';
    note(
      `takeover: next target starts after ${times.map(Math.round).join(', ')} ms; median ${Math.round(median(times))} ms, budget ${BUDGET_MS} ms, ${met}`,
    );
  } finally {
    await Promise.all(workers.map((worker) => worker.kill('SIGKILL')));
    await fleet.stop();
  }
}

async function killOwner(fleet: Fleet, workers: Child[], run: number): Promise<number> {
  const extra = Array.from({ length: run }, (_, index) => ({
    name: `1${index + 1}00_slow`,
    upSql: `CREATE TABLE slow_${index + 1} (id int); SELECT pg_sleep(0.2);`,
  }));
  await publishExtra(fleet, `slow-${run}`, extra);
  const { id } = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts', {
    release: `slow-${run}`,
    waves: [{ name: 'all', parallel: 2 }],
  });
  const verified = async (): Promise<number> => {
    const { rows } = await fleet.registry.query(
      "SELECT 1 FROM rollout_targets WHERE rollout_id = $1 AND state = 'verified'",
      [id],
    );
    return rows.length;
  };
  await until('the rollout is under way', async () => (await verified()) > 4);
  const { rows } = await fleet.registry.query<{ pid: number; epoch: string }>(
    'SELECT w.pid, l.epoch FROM leases l JOIN workers w ON w.id = l.holder WHERE l.resource = $1',
    [`rollout:${id}`],
  );
  const owner = workers.findIndex((worker) => worker.process.pid === rows[0]?.pid);
  const killedAt = performance.now();
  await workers.splice(owner, 1)[0]?.kill('SIGKILL');
  await until('the next target starts', async () => {
    const started = await fleet.registry.query(
      "SELECT 1 FROM rollout_targets WHERE rollout_id = $1 AND epoch > $2 AND state IN ('running', 'verified')",
      [id, rows[0]?.epoch],
    );
    return started.rows.length > 0;
  });
  const took = performance.now() - killedAt;
  await until(
    'the rollout ends',
    async () => (await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`)).state === 'succeeded',
    60_000,
  );
  return took;
}
