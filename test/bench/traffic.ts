import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Rollout } from '../../contract/rollout.ts';
import { withClient } from '../../platform/pg.ts';
import { renderMigrations } from '../../fleet-cli/release/render.ts';
import { projectRoot } from '../../platform/project.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import type { Child } from '../support/child.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { appUrl, startAppProcess } from '../support/fleet-processes.ts';
import { provisionMany } from './fleet.ts';
import { note } from './report.ts';
import { databaseAddresses } from './rollout.ts';
import { timed } from './statistics.ts';
import type { Traffic, TrafficTask } from './traffic-clients.ts';
import { trafficDuring } from './traffic-during.ts';

const TENANTS = 100;
const TASKS = 2_000;
const CLIENTS = 10;
/** Some 400 requests a second: half of what two cores can bear, as a fleet in its day is not at its limit. */
const PAUSE_MS = 20;
/** Of the quiet time before, in milliseconds: some 6,000 requests, sixty of them slower than the p99. */
const QUIET_MS = 15_000;
const PARALLEL = 2;
const BUDGET = 2;

/** An expand release: a column that new rows fill, an index built beside writers, and a backfill of the old rows. */
const RELEASE: Record<string, string> = {
  '0101_weight.sql':
    '-- Up Migration\nALTER TABLE tasks ADD COLUMN weight int;\nALTER TABLE tasks ALTER COLUMN weight SET DEFAULT 1;\n',
  '0102_due.sql':
    '-- fleet: transaction=off\n-- Up Migration\nCREATE INDEX CONCURRENTLY tasks_due ON tasks (due_on);\n',
  '0103_fill.sql': `-- fleet: backfill table=tasks key=id batch=500 verify="select count(*) from tasks where weight is null and id between :from and :to"
-- Up Migration
UPDATE tasks SET weight = length(title) WHERE id BETWEEN :from AND :to AND weight IS NULL;
`,
};

/** Ten clients work on a hundred tenants: before a rollout, and while it goes over all of them. */
export async function benchTraffic(): Promise<void> {
  const fleet = await startFleet();
  let app: Child | undefined;
  try {
    note(`provisioning ${TENANTS} databases of ${TASKS} rows …`);
    await provisionMany(fleet, 'bench', TENANTS, 8);
    const tenants = await fill(fleet);
    app = startAppProcess(fleet, 'eu');
    const task = { url: await appUrl(app), tenants, clients: CLIENTS, pauseMs: PAUSE_MS };
    await trafficDuring({ ...task, seed: 1 }, () => wait(QUIET_MS));
    const before = await trafficDuring({ ...task, seed: 2 }, () => wait(QUIET_MS));
    let tookMs = 0;
    const meanwhile = await trafficDuring({ ...task, seed: 3 }, async () => {
      tookMs = await timed(() => rollOut(fleet));
    });
    tell(before, meanwhile, tookMs);
  } finally {
    await app?.kill('SIGKILL');
    await fleet.stop();
  }
}

/** Rows of every tenant, in one project each. */
async function fill(fleet: Fleet): Promise<TrafficTask['tenants']> {
  const { rows } = await fleet.registry.query<{ slug: string; name: string }>(
    'SELECT t.slug, d.name FROM databases d JOIN tenants t ON t.id = d.tenant_id',
  );
  const slugs = new Map(rows.map(({ slug, name }) => [name, slug]));
  return eachAtOnce(await databaseAddresses(fleet), 4, (address) =>
    withClient(address, { applicationName: 'bench' }, async (client) => {
      const made = await client.query<{ id: string }>(
        "INSERT INTO projects (name) VALUES ('Busy') RETURNING id",
      );
      const projectId = made.rows[0]?.id ?? '';
      await client.query(
        "INSERT INTO tasks (project_id, title) SELECT $1, 'Task ' || n FROM generate_series(1, $2::int) AS n",
        [projectId, TASKS],
      );
      await client.query('ANALYZE tasks');
      return { host: `${slugs.get(address.database)}.eu.localhost`, projectId };
    }),
  );
}

async function rollOut(fleet: Fleet): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-traffic-'));
  try {
    cpSync(join(projectRoot(), 'migrations', 'tenant'), folder, { recursive: true });
    for (const [name, text] of Object.entries(RELEASE)) writeFileSync(join(folder, name), text);
    await fleet.admin.ok('POST', '/api/v1/releases', {
      name: 'traffic',
      migrations: await renderMigrations(folder),
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
  const { id } = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts', {
    release: 'traffic',
    waves: [
      { name: 'canary', count: 5 },
      { name: 'rest', parallel: PARALLEL },
    ],
  });
  const response = await fetch(`${fleet.url}/api/v1/rollouts/${id}/events`, {
    headers: { authorization: `Bearer ${fleet.adminToken}`, accept: 'text/event-stream' },
  });
  await response.text();
  const rollout = await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);
  if (rollout.state === 'succeeded') return;
  const errors = rollout.targets.flatMap(({ error }) => (error === null ? [] : [error.message]));
  throw new Error(`the rollout ${rollout.state}: ${rollout.cause?.message}: ${errors.join('; ')}`);
}

function tell(before: Traffic, meanwhile: Traffic, tookMs: number): void {
  const failures = { ...before.failures, ...meanwhile.failures };
  if (Object.keys(failures).length > 0) throw new Error(`requests failed: ${JSON.stringify(failures)}`);
  const ratio = meanwhile.p99Ms / before.p99Ms;
  const line = ({ requests, p50Ms, p99Ms }: Traffic): string =>
    `${requests} requests, 0 failed, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`;
  note(`before: ${line(before)}`);
  note(
    `while a column, an index and a backfill go over ${TENANTS} tenants (${(tookMs / 1_000).toFixed(1)} s):`,
  );
  note(`        ${line(meanwhile)}`);
  note(
    `ratio of p99 ${ratio.toFixed(2)}   budget at most ${BUDGET}   ${ratio <= BUDGET ? 'met' : 'NOT met'}`,
  );
}
