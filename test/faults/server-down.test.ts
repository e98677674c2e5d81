import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { acceptDrift } from '../../control-plane/drift/accept.ts';
import { listDrift } from '../../control-plane/drift/store.ts';
import { readStamp } from '../../control-plane/releases/stamp.ts';
import { setCurrentRelease } from '../../control-plane/releases/store.ts';
import { publishRelease } from '../../control-plane/releases/publish.ts';
import { createRolloutDriver } from '../../control-plane/rollouts/engine/driver.ts';
import { planRollout, startRollout } from '../../control-plane/rollouts/verbs/start.ts';
import { retryRollout } from '../../control-plane/rollouts/verbs/retry.ts';
import { readRollout } from '../../control-plane/rollouts/view/view.ts';
import { startCluster, stopCluster } from '../../control-plane/servers/providers/cluster.ts';
import { RolloutSpec, type Rollout } from '../../contract/rollout.ts';
import { SYSTEM_CALLER } from '../../control-plane/access/caller.ts';
import { withClient, type PgAddress } from '../../platform/pg.ts';
import { rendered } from '../integration/releases/tenant-database.ts';
import { startWorld, type World } from '../integration/tenants/world.ts';
import { clusters, TEST_SETTINGS } from '../support/clusters.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { driveOnce } from '../support/drive.ts';
import { sized } from '../support/full-size.ts';
import { until } from '../support/until.ts';

/** On the server that goes down, and on the other one. */
const TENANTS = { us: sized(14, 500), eu: 14 };
const ALL = TENANTS.us + TENANTS.eu;
/** How long it is away at least, in milliseconds: in `npm test` until the other server is through. */
const AWAY_MS = sized(0, 180_000);
const PER_SERVER = 3;
const WAVES = [
  { name: 'canary', count: 1 },
  { name: 'some', count: 2 },
  { name: 'others', parallel: 8, perServer: PER_SERVER, regions: 'interleaved', budget: { failures: 1 } },
];
/** Tried again a few times while it is down, never given up. */
const OUTAGE = { firstMs: 100, maxMs: sized(200, 700), giveUpMs: 600_000 };
const RETRY = { retries: 1, firstDelayMs: 5, maxDelayMs: 10 };
const ASKER = { caller: SYSTEM_CALLER, requestId: 'test' };
const DRIFTED = 'eu-09';

const MIGRATIONS = rendered(
  'CREATE TABLE notes (id serial PRIMARY KEY, body text)',
  // Long enough that some are in flight when their server goes.
  'ALTER TABLE notes ADD COLUMN done boolean NOT NULL DEFAULT false; SELECT pg_sleep(0.05)',
);

describe('15: a server that goes down in the third wave, and drift by hand', function () {
  this.timeout(sized(60_000, 900_000));
  let world: World;
  let id: string;
  const databases = new Map<string, { tenantId: string; id: string; address: PgAddress }>();

  before(async () => {
    world = await startWorld();
    await publish(1, 'r1');
    await world.registry.transaction((tx) => setCurrentRelease(tx, 'r1'));
    await world.registry.query('UPDATE servers SET max_databases = $1, max_connections = 20 * $1', [ALL]);
    const slugs = Object.entries(TENANTS).flatMap(([region, count]) =>
      Array.from({ length: count }, (_, index) => `${region}-${String(index).padStart(2, '0')}`),
    );
    await eachAtOnce(slugs, 4, add);
    await publish(2, 'r2');
    // A crash of the other test servers loses what was committed last, as their settings say.
    await ask(clusters().us.superuser, 'ALTER SYSTEM SET synchronous_commit = on');
    await ask(clusters().us.superuser, 'SELECT pg_reload_conf()');
  });
  after(async () => {
    await comeBack();
    await ask(clusters().us.superuser, 'ALTER SYSTEM RESET synchronous_commit');
    await ask(clusters().us.superuser, 'SELECT pg_reload_conf()');
    await world.stop();
  });

  async function publish(count: number, name: string): Promise<void> {
    const migrations = MIGRATIONS.slice(0, count);
    await world.registry.transaction((tx) => publishRelease(tx, { name, migrations }, SYSTEM_CALLER, 'test'));
  }

  async function add(slug: string): Promise<void> {
    const region = slug.startsWith('eu') ? 'eu' : 'us';
    const { id: tenantId } = await world.create(slug, { region });
    const { rows } = await world.registry.query<{ id: string; name: string }>(
      'SELECT id, name FROM databases WHERE tenant_id = $1',
      [tenantId],
    );
    const [{ id: databaseId, name } = { id: '', name: '' }] = rows;
    const address = { ...clusters()[region].superuser, database: name };
    databases.set(slug, { tenantId, id: databaseId, address });
  }

  function database(slug: string) {
    const found = databases.get(slug);
    assert.ok(found !== undefined, slug);
    return found;
  }

  const ask = async <R extends Record<string, unknown>>(address: PgAddress, sql: string): Promise<R[]> =>
    withClient(address, { applicationName: 'test' }, async (client) => (await client.query<R>(sql)).rows);

  const read = (): Promise<Rollout> => readRollout(world.registry, id, null);

  async function comeBack(): Promise<void> {
    const { folder, port, superuser } = clusters().us;
    const loadPassword = (): string => superuser.password;
    await startCluster({
      folder,
      port,
      settings: TEST_SETTINGS,
      loadPassword,
      savePassword: () => undefined,
    });
  }

  /** The most sessions of migrations that the server ever showed while `work` went on. */
  async function mostSessions(work: Promise<unknown>): Promise<number> {
    let most = 0;
    let over = false;
    void work.finally(() => (over = true)).catch(() => undefined);
    await withClient(clusters().us.superuser, { applicationName: 'test' }, async (client) => {
      while (!over) {
        const { rows } = await client.query<{ sessions: number }>(
          `SELECT count(*)::int AS sessions FROM pg_stat_activity WHERE application_name LIKE 'fleet:${id}:%'`,
        );
        most = Math.max(most, rows[0]?.sessions ?? 0);
      }
    });
    return most;
  }

  async function start(): Promise<void> {
    await world.registry.transaction(async (tx) => {
      id = await planRollout(tx, RolloutSpec.parse({ release: 'r2', waves: WAVES }), ASKER);
      await startRollout(tx, id, ASKER);
    });
  }

  const drive = (): Promise<void> => {
    const driver = createRolloutDriver({ ...world.deps, retry: RETRY, outage: OUTAGE });
    return driveOnce(world.registry, driver, id);
  };

  async function untilOutage(): Promise<void> {
    await until('the outage is noted', async () => {
      const { rowCount } = await world.registry.query('SELECT FROM rollout_outages');
      return rowCount === 1;
    });
  }

  it('is one event: its targets wait, the others go on, and all come back without a herd', async () => {
    await ask(database(DRIFTED).address, 'ALTER TABLE notes ADD COLUMN by_hand int');
    await start();
    const driving = drive();
    await until('the third wave is at the server', async () => {
      const { targets, waves } = await read();
      const there = targets.some(({ tenant, state }) => tenant.startsWith('us') && state === 'running');
      return waves[2]?.state === 'running' && there;
    });
    await stopCluster(clusters().us.folder, 'immediate');
    const back = wait(AWAY_MS);
    await untilOutage();
    const waiting = await until('the other server is through', async () => {
      const rollout = await read();
      const others = rollout.targets.filter(({ tenant }) => tenant.startsWith('eu'));
      return others.every(({ state }) => ['verified', 'failed'].includes(state)) ? rollout : undefined;
    });
    await back;
    assert.equal(waiting.state, 'running');
    assert.ok(waiting.counts.verified < waiting.total - 1);

    await comeBack();
    const most = await mostSessions(driving);
    assert.ok(most > 0 && most <= PER_SERVER, `${most} sessions at once`);
    const ended = await read();
    assert.deepEqual([ended.state, ended.cause?.code], ['halted', 'targets_behind']);
    const { verified, failed } = ended.counts;
    assert.deepEqual([verified, failed], [ALL - 1, 1]);
    const { rows: events } = await world.registry.query<{ action: string }>(
      `SELECT action FROM audit_log WHERE action LIKE 'rollout.server%' ORDER BY seq`,
    );
    assert.deepEqual(
      events.map(({ action }) => action),
      ['rollout.server_lost', 'rollout.server_back'],
    );
    for (const [slug, { address }] of databases) {
      const rows = await ask<{ name: string }>(address, 'SELECT name FROM pgmigrations ORDER BY id');
      assert.equal(rows.length, slug === DRIFTED ? 1 : 2, slug);
    }
  });

  it('has left the drifted one alone, and says so where drift is listed', async () => {
    const { targets } = await read();
    const refused = targets.find(({ tenant }) => tenant === DRIFTED);
    assert.equal(refused?.error?.code, 'schema_drifted');
    assert.match(refused.error.message, /by_hand/);
    const columns = await ask<{ name: string }>(
      database(DRIFTED).address,
      "SELECT attname AS name FROM pg_attribute WHERE attrelid = 'notes'::regclass AND attnum > 0 ORDER BY attnum",
    );
    assert.deepEqual(
      columns.map(({ name }) => name),
      ['id', 'body', 'by_hand'],
    );
    const listed = await listDrift(world.registry, { regions: null, limit: 100 });
    assert.deepEqual(
      listed.map(({ tenant, state, changes }) => ({ tenant, state, changes })),
      [{ tenant: DRIFTED, state: 'drifted', changes: ['~ notes: + column by_hand integer'] }],
    );
  });

  it('goes on with it when it is accepted by name', async () => {
    const { tenantId } = database(DRIFTED);
    await world.registry.transaction(async (tx) => {
      await acceptDrift(tx, { id: tenantId, slug: DRIFTED, region: 'eu' }, { reason: 'theirs', ...ASKER });
      await retryRollout(tx, id, ASKER);
    });
    await drive();
    const { state, counts } = await read();
    assert.deepEqual([state, counts.verified], ['succeeded', ALL]);
  });

  it('leaves stamps that hold, whatever the server has lost in its crash', async () => {
    const { rows } = await world.registry.query<{ slug: string; stamp: unknown }>(
      `SELECT t.slug, d.schema_stamp AS stamp FROM databases d JOIN tenants t ON t.id = d.tenant_id`,
    );
    const slugs = ['eu-05', 'us-05', DRIFTED];
    for (const slug of slugs) {
      const now = await withClient(database(slug).address, { applicationName: 'test' }, (client) =>
        readStamp(client, '0002_m'),
      );
      assert.deepEqual(rows.find((row) => row.slug === slug)?.stamp, now, slug);
    }
  });
});
