import { createServer, type Server } from 'node:net';
import type { NothingToPlan, Rollout } from '../../contract/rollout.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { fillRegistry } from './fill-registry.ts';
import { publishExtra } from './fleet.ts';
import { note } from './report.ts';
import { timed } from './statistics.ts';

const DATABASES = 5_000;
const BUDGET_MS = 2_000;

/**
 * A fleet of 5,000 registered databases that have the release already: to plan says that there is nothing to do, and
 * a rollout has succeeded at once. Their server is a socket that counts who comes: nobody may. For comparison, what it
 * takes to plan and store a rollout of a release that all of them lack.
 */
export async function benchUpToDate(): Promise<void> {
  const fleet = await startFleet({ servers: false, probe: () => Promise.resolve() });
  const { server, port, visits } = await countVisits();
  try {
    await fillRegistry(fleet.registry, { tenants: DATABASES, state: 'active', port });
    const [release] = (await fleet.admin.ok<{ items: { name: string }[] }>('GET', '/api/v1/releases')).items;
    const planned = await timed(() => planNothing(fleet, release?.name ?? ''));
    const carried = await timed(() => rollOutNothing(fleet, release?.name ?? ''));
    await publishExtra(fleet, 'next', [
      { name: '9000_next', upSql: 'CREATE TABLE next (id int PRIMARY KEY)' },
    ]);
    const behind = await timed(() => planAll(fleet));
    if (visits() > 0) throw new Error(`the databases' server was visited ${visits()} times`);
    const met = planned + carried <= BUDGET_MS ? 'met' : 'NOT met';
    note(
      `${DATABASES} databases up to date: planned in ${planned.toFixed(0)} ms, rolled out in ${carried.toFixed(0)} ms, 0 visits   budget ${BUDGET_MS} ms   ${met}`,
    );
    note(`${DATABASES} databases behind: planned and stored in ${behind.toFixed(0)} ms`);
  } finally {
    server.close();
    await fleet.stop();
  }
}

function countVisits(): Promise<{ server: Server; port: number; visits: () => number }> {
  let count = 0;
  const server = createServer((socket) => {
    count += 1;
    socket.destroy();
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      resolve({ server, port, visits: () => count });
    });
  });
}

async function planNothing(fleet: Fleet, release: string): Promise<void> {
  const answer = await fleet.admin.ok<NothingToPlan>('POST', '/api/v1/rollouts/plan', { release });
  if (!answer.nothingToDo) throw new Error('there was something to plan');
}

async function rollOutNothing(fleet: Fleet, release: string): Promise<void> {
  const { id } = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts', { release });
  const rollout = await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);
  if (rollout.state !== 'succeeded') throw new Error(`the rollout is ${rollout.state}`);
}

async function planAll(fleet: Fleet): Promise<void> {
  const rollout = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts/plan', { release: 'next' });
  if (rollout.total !== DATABASES) throw new Error(`${rollout.total} targets are planned`);
}
