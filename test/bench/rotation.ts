import { setTimeout as wait } from 'node:timers/promises';
import type { Rotation } from '../../contract/rotation.ts';
import type { SecretVersion } from '../../contract/secret.ts';
import { callTenant } from '../support/api.ts';
import type { Child } from '../support/child.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { appUrl, startAppProcess } from '../support/fleet-processes.ts';
import { until } from '../support/until.ts';
import { provisionMany } from './fleet.ts';
import { note } from './report.ts';
import { timed } from './statistics.ts';
import type { Traffic, TrafficTask } from './traffic-clients.ts';
import { trafficDuring } from './traffic-during.ts';

const TENANTS = 200;
/** Of each region's app. */
const CLIENTS = 10;
/** Some 400 requests a second in all: half of what two cores can bear, as a fleet in its day is not at its limit. */
const PAUSE_MS = 40;
const QUIET_MS = 15_000;
/** Ten times what it takes. */
const RUN_AT_MOST_MS = 600_000;
const BUDGET = 1.5;

const REGIONS = ['eu', 'us'] as const;
type Region = (typeof REGIONS)[number];

/**
 * 200 tenants of two regions get new credentials while twenty clients read and write through both regions' apps; then
 * once more, with one of the apps killed and started again in the middle.
 */
export async function benchRotation(): Promise<void> {
  const fleet = await startFleet({ checkAnswers: false });
  const apps: Child[] = [];
  const start = async (region: Region, port?: string): Promise<string> => {
    const app = startAppProcess(fleet, region, port);
    apps.push(app);
    return appUrl(app);
  };
  try {
    note(`provisioning ${TENANTS} tenants in two regions …`);
    for (const region of REGIONS) await provisionMany(fleet, `${region}-bench`, TENANTS / 2, 8, region);
    const tasks: Omit<TrafficTask, 'seed'>[] = [];
    for (const region of REGIONS) tasks.push(await taskOf(fleet, region, await start(region)));
    /** In both regions at once; `work` begins when the clients of both are at work. */
    const during = async (work: () => Promise<unknown>, seed: number): Promise<Traffic[]> => {
      const [eu, us] = tasks.map((task) => ({ ...task, seed }));
      if (eu === undefined || us === undefined) throw new Error('a region is missing');
      const traffic: Traffic[] = [];
      traffic.push(await trafficDuring(eu, async () => traffic.push(await trafficDuring(us, work))));
      return traffic;
    };
    await during(() => wait(QUIET_MS), 1);
    const before = await during(() => wait(QUIET_MS), 2);
    let tookMs = 0;
    const meanwhile = await during(async () => {
      tookMs = await timed(() => rotateAll(fleet));
      await oldAreClosed(fleet);
    }, 3);
    tell(before, meanwhile, tookMs);
    const killed = await during(async () => {
      const rotating = rotateAll(fleet);
      await wait(1_000);
      await apps[0]?.kill('SIGKILL');
      await start('eu', new URL(tasks[0]?.url ?? '').port);
      await rotating;
    }, 4);
    tellKilled(killed);
  } finally {
    await Promise.all(apps.map((app) => app.kill('SIGKILL')));
    await fleet.stop();
  }
}

/** A project in each tenant, and who works on it. */
async function taskOf(fleet: Fleet, region: Region, url: string): Promise<Omit<TrafficTask, 'seed'>> {
  const { rows } = await fleet.registry.query<{ slug: string }>(
    'SELECT slug FROM tenants WHERE region = $1',
    [region],
  );
  const tenants = await eachAtOnce(rows, 4, async ({ slug }) => {
    const host = `${slug}.${region}.localhost`;
    const made = await callTenant<{ id: string }>(url, host, 'POST', '/api/v1/projects', { name: 'Busy' });
    return { host, projectId: made.body.id };
  });
  return { url, tenants, clients: CLIENTS, pauseMs: PAUSE_MS };
}

/** By one run, as `fleet secret rotate --where` does it: with its own pace. */
async function rotateAll(fleet: Fleet): Promise<void> {
  const { id } = await fleet.admin.ok<Rotation>('POST', '/api/v1/rotations', { match: {} });
  const ended = await until(
    'the run has ended',
    async () => {
      const run = await fleet.admin.ok<Rotation>('GET', `/api/v1/rotations/${id}`);
      return run.finishedAt === null ? undefined : run;
    },
    RUN_AT_MOST_MS,
  );
  if (ended.state !== 'succeeded' || ended.counts.rotated !== TENANTS) {
    throw new Error(`the run ${ended.state}: ${JSON.stringify([ended.counts, ended.error])}`);
  }
}

/** Until no old login is open any more. */
async function oldAreClosed(fleet: Fleet): Promise<void> {
  await until(
    'all old logins are closed',
    async () => {
      const { rows: open } = await fleet.registry.query<Pick<SecretVersion, 'id'>>(
        "SELECT id FROM secret_versions WHERE stage = 'previous' LIMIT 1",
      );
      return open.length === 0;
    },
    60_000,
  );
}

const sum = (traffic: Traffic[]): { requests: number; p50Ms: number; p99Ms: number } => ({
  requests: traffic.reduce((total, { requests }) => total + requests, 0),
  p50Ms: Math.max(...traffic.map(({ p50Ms }) => p50Ms)),
  p99Ms: Math.max(...traffic.map(({ p99Ms }) => p99Ms)),
});

function failuresOf(traffic: Traffic[]): [string, number][] {
  return traffic.flatMap(({ failures }) => Object.entries(failures));
}

function tell(before: Traffic[], meanwhile: Traffic[], tookMs: number): void {
  const failures = failuresOf([...before, ...meanwhile]);
  if (failures.length > 0) throw new Error(`requests failed: ${JSON.stringify(failures)}`);
  const [quiet, busy] = [sum(before), sum(meanwhile)];
  const line = ({ requests, p50Ms, p99Ms }: ReturnType<typeof sum>): string =>
    `${requests} requests, 0 failed, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms (of the slower region)`;
  note(`before: ${line(quiet)}`);
  note(
    `${TENANTS} rotated by a run at its own pace (${(tookMs / 1_000).toFixed(1)} s), and all old logins closed:`,
  );
  note(`        ${line(busy)}`);
  const ratio = busy.p99Ms / quiet.p99Ms;
  note(
    `ratio of p99 ${ratio.toFixed(2)}   budget at most ${BUDGET}   ${ratio <= BUDGET ? 'met' : 'NOT met'}`,
  );
}

/** What the killed app had in hand, and what knocks before the next one says that it is ready, cannot be served. */
function tellKilled(traffic: Traffic[]): void {
  const answered = failuresOf(traffic).filter(
    ([failure]) => !/ECONNREFUSED|ECONNRESET|socket hang up|routes_not_loaded/.test(failure),
  );
  if (answered.length > 0) throw new Error(`requests failed: ${JSON.stringify(answered)}`);
  const unanswered = failuresOf(traffic).reduce((total, [, count]) => total + count, 0);
  note(`once more, with the app of eu killed and started again:`);
  note(
    `        ${sum(traffic).requests} requests, 0 failed by an app that was ready, ${unanswered} met none`,
  );
}
