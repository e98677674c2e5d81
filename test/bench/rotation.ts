import { setTimeout as wait } from 'node:timers/promises';
import type { SecretRotation, SecretVersion } from '../../contract/secret.ts';
import { dataFiles } from '../../platform/config.ts';
import { callTenant } from '../support/api.ts';
import { startChild, type Child } from '../support/child.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { until } from '../support/until.ts';
import { operationEnd, provisionMany } from './fleet.ts';
import { note } from './report.ts';
import { timed } from './statistics.ts';
import type { Traffic, TrafficTask } from './traffic-clients.ts';

const TENANTS = 200;
/** Of each region's app. */
const CLIENTS = 10;
/** Some 400 requests a second in all: half of what two cores can bear, as a fleet in its day is not at its limit. */
const PAUSE_MS = 40;
const QUIET_MS = 15_000;
const AT_ONCE = 8;
const BUDGET = 1.5;

const REGIONS = ['eu', 'us'] as const;
type Region = (typeof REGIONS)[number];

/**
 * 200 tenants of two regions get new credentials while twenty clients read and write through both regions' apps; then
 * once more, with one of the apps killed and started again in the middle.
 */
export async function benchRotation(): Promise<void> {
  const fleet = await startFleet({ checkAnswers: false });
  const children: Child[] = [];
  const start = (file: string, env: NodeJS.ProcessEnv): Child => {
    const child = startChild(file, [], env);
    children.push(child);
    return child;
  };
  const startApp = async (region: Region, port: string): Promise<{ app: Child; url: string }> => {
    const app = start('tenant-app/main.ts', {
      FLEET_URL: fleet.url,
      FLEET_TOKEN_FILE: dataFiles(fleet.config.dataDir).appToken(region),
      ...{ FLEET_REGION: region, FLEET_APP_PORT: port, FLEET_LOG_LEVEL: 'error' },
    });
    const { url } = JSON.parse(await app.line((line) => line.includes('"ready"'))) as { url: string };
    return { app, url };
  };
  try {
    note(`provisioning ${TENANTS} tenants in two regions …`);
    await provisionMany(fleet, 'eu-bench', TENANTS / 2, 8, 'eu');
    await provisionMany(fleet, 'us-bench', TENANTS / 2, 8, 'us');
    const apps = { eu: await startApp('eu', '0'), us: await startApp('us', '0') };
    const tasks = await Promise.all(REGIONS.map((region) => taskOf(fleet, region, apps[region].url)));
    const during = async (work: () => Promise<unknown>, seed: number): Promise<Traffic[]> => {
      const clients = tasks.map((task) =>
        start('test/bench/traffic-clients.ts', {
          TRAFFIC_TASK: JSON.stringify({ ...task, seed } satisfies TrafficTask),
        }),
      );
      await Promise.all(clients.map((client) => client.line((line) => line === 'started')));
      await work();
      await Promise.all(clients.map((client) => client.kill('SIGTERM')));
      return Promise.all(
        clients.map(
          async (client) => JSON.parse(await client.line((line) => line.startsWith('{'))) as Traffic,
        ),
      );
    };
    await during(() => wait(QUIET_MS), 1);
    const before = await during(() => wait(QUIET_MS), 2);
    let tookMs = 0;
    const meanwhile = await during(async () => {
      tookMs = await timed(() => rotateAll(fleet));
      await oldAreClosed(fleet);
    }, 3);
    tell(before, meanwhile, `${TENANTS} rotated, ${AT_ONCE} at once, all old logins closed`, tookMs);
    const port = new URL(apps.eu.url).port;
    const killed = await during(async () => {
      const rotating = rotateAll(fleet);
      await wait(1_000);
      await apps.eu.app.kill('SIGKILL');
      await startApp('eu', port);
      await rotating;
    }, 4);
    tellKilled(killed);
  } finally {
    await Promise.all(children.map((child) => child.kill('SIGKILL')));
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

async function rotateAll(fleet: Fleet): Promise<void> {
  const { rows } = await fleet.registry.query<{ slug: string }>(
    "SELECT slug FROM tenants WHERE state = 'active' ORDER BY slug",
  );
  await eachAtOnce(rows, AT_ONCE, async ({ slug }) => {
    const { operation } = await fleet.admin.ok<SecretRotation>('POST', `/api/v1/secrets/${slug}/rotate`, {});
    const { state, error } = await operationEnd(fleet, operation);
    if (state !== 'succeeded') throw new Error(`${slug}: ${JSON.stringify(error)}`);
  });
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

function tell(before: Traffic[], meanwhile: Traffic[], what: string, tookMs: number): void {
  const failures = failuresOf([...before, ...meanwhile]);
  if (failures.length > 0) throw new Error(`requests failed: ${JSON.stringify(failures)}`);
  const [quiet, busy] = [sum(before), sum(meanwhile)];
  const line = ({ requests, p50Ms, p99Ms }: ReturnType<typeof sum>): string =>
    `${requests} requests, 0 failed, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms (of the slower region)`;
  note(`before: ${line(quiet)}`);
  note(`${what} (${(tookMs / 1_000).toFixed(1)} s):`);
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
