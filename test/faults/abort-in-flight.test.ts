import assert from 'node:assert/strict';
import type { Rollout } from '../../contract/rollout.ts';
import type { Tenant } from '../../contract/tenant.ts';
import { changedTargets } from '../../control-plane/rollouts/verbs/undo-store.ts';
import { withClient, type PgClient } from '../../platform/pg.ts';
import { clusters } from '../support/clusters.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { until } from '../support/until.ts';

const TENANTS = 8;
/** A lock that the migration waits for, so that its targets stay in flight. */
const GATE = 4242;

const FIRST = { name: '0001_a', upSql: 'CREATE TABLE a (id int)' };
const MIGRATIONS = [
  FIRST,
  { name: '0002_more', upSql: 'ALTER TABLE a ADD more int' },
  {
    name: '0003_gate',
    // A word in a comment is no index.
    upSql: `SELECT pg_advisory_xact_lock(${GATE}) /* not CONCURRENTLY */; ALTER TABLE a ADD b int`,
    lockTimeoutMs: 60_000,
  },
  { name: '0004_index', upSql: 'CREATE INDEX CONCURRENTLY a_b ON a (b)', transactional: false },
];

describe(`12: an abort while ${TENANTS} targets run, one of them CONCURRENTLY`, function () {
  this.timeout(60_000);
  let fleet: Fleet;
  let tenants: Tenant[];
  const holders: { client: Promise<void>; release: () => void }[] = [];

  before(async () => {
    fleet = await startFleet({ publish: false });
    await publish('r1', [FIRST]);
    const slugs = [...Array(TENANTS).keys()].map((index) => `abort-${index}`);
    tenants = await eachAtOnce(slugs, 4, (slug) => fleet.createTenant(slug));
    await publish('r2', MIGRATIONS);
  });
  after(async () => {
    await letGo();
    await fleet.stop();
  });

  it('leaves every target as its database says, and nothing behind', async () => {
    const [indexing, ...gated] = tenants;
    assert.ok(indexing !== undefined);
    for (const tenant of gated) await hold(tenant, `SELECT pg_advisory_lock(${GATE})`);
    // An open snapshot holds the build of the index in its last wait.
    await hold(indexing, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
    const { id } = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts', {
      release: 'r2',
      waves: [{ name: 'all', parallel: TENANTS }],
    });
    await until('all are in flight', async () => {
      const waits = await Promise.all(tenants.map((tenant) => sessions(tenant, "wait_event_type = 'Lock'")));
      return waits.every((count) => count === 1);
    });
    await until('the index is half built', async () => (await invalidIndexes(indexing)) === 1);

    await fleet.admin.ok('POST', `/api/v1/rollouts/${id}/abort`, { reason: 'enough' });
    await until('only the index goes on', async () => (await read(id)).counts.running === 1);
    assert.deepEqual(await refusal(), [409, 'targets_unsettled']);
    await letGo();
    const ended = await until('nothing is in flight', async () => {
      const rollout = await read(id);
      return rollout.counts.running + rollout.counts.unknown === 0 ? rollout : undefined;
    });

    assert.equal(ended.state, 'aborted');
    assert.deepEqual(await refusal(), [409, 'rollout_abandoned']);
    const names = MIGRATIONS.map(({ name }) => name);
    // All have something of it, those too that were cancelled: an undo would have to take it back.
    assert.equal((await changedTargets(fleet.registry, id)).length, TENANTS);
    for (const target of ended.targets) {
      const tenant = await fleet.admin.ok<Tenant>('GET', `/api/v1/tenants/${target.tenant}`);
      const applied = await onDatabase(tenant, async (client) => {
        const { rows } = await client.query<{ name: string }>('SELECT name FROM pgmigrations ORDER BY id');
        return rows.map(({ name }) => name);
      });
      assert.equal(tenant.schemaVersion, applied.at(-1), target.tenant);
      assert.ok(applied.includes('0002_more'), target.tenant);
      assert.equal(target.state === 'verified', applied.length === names.length, target.tenant);
      assert.equal(applied.length === names.length, target.tenant === indexing.slug, target.tenant);
      assert.equal(await invalidIndexes(tenant), 0);
      await until('no session is left', async () => (await sessions(tenant, 'true')) === 0);
      assert.equal(await advisoryLocks(tenant), 0);
    }
  });

  it('goes on in the rollout that takes its place', async () => {
    const [aborted] = (await fleet.admin.ok<{ items: Rollout[] }>('GET', '/api/v1/rollouts')).items;
    assert.ok(aborted !== undefined);
    const next = await fleet.admin.ok<Rollout>('POST', `/api/v1/rollouts?supersede=${aborted.id}`, {
      release: 'r2',
    });
    const done = await until('it is over', async () => {
      const rollout = await read(next.id);
      return rollout.state === 'running' ? undefined : rollout;
    });
    assert.deepEqual([done.state, done.total], ['succeeded', TENANTS - 1]);
  });

  const read = (id: string) => fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);

  /** What the start of another rollout answers. */
  async function refusal(): Promise<[number, string]> {
    const body = { release: 'r2' };
    const answer = await fleet.admin.call<{ code: string }>('POST', '/api/v1/rollouts', body);
    return [answer.status, answer.body.code];
  }

  async function publish(name: string, migrations: { name: string; upSql: string }[]): Promise<void> {
    const rendered = migrations.map((draft) => ({ downSql: null, file: `${draft.name}.sql`, ...draft }));
    const baseline = { migration: rendered.at(-1)?.name, reason: 'made for a test' };
    await fleet.admin.ok('POST', '/api/v1/releases', { name, migrations: rendered, baseline });
  }

  function onDatabase<T>(tenant: Tenant, work: (client: PgClient) => Promise<T>): Promise<T> {
    const address = { ...clusters().eu.superuser, database: tenant.database ?? '' };
    return withClient(address, { applicationName: 'test' }, work);
  }

  /** Keeps a session open that has run `sql`, until all are let go. */
  async function hold(tenant: Tenant, sql: string): Promise<void> {
    await new Promise<void>((ready, failed) => {
      const client = onDatabase(tenant, async (session) => {
        await session.query(sql);
        await new Promise<void>((release) => {
          holders.push({ client, release });
          ready();
        });
      });
      client.catch(failed);
    });
  }

  async function letGo(): Promise<void> {
    for (const { release } of holders) release();
    await Promise.all(holders.splice(0).map(({ client }) => client));
  }

  /** Counts sessions of migrations in the tenant's database. */
  function sessions(tenant: Tenant, condition: string): Promise<number> {
    return count(
      tenant,
      `SELECT count(*)::int AS count FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'fleet:%' AND ${condition}`,
    );
  }

  function invalidIndexes(tenant: Tenant): Promise<number> {
    return count(tenant, 'SELECT count(*)::int AS count FROM pg_index WHERE NOT indisvalid');
  }

  function advisoryLocks(tenant: Tenant): Promise<number> {
    return count(
      tenant,
      `SELECT count(*)::int AS count FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND d.datname = current_database()`,
    );
  }

  function count(tenant: Tenant, sql: string): Promise<number> {
    return onDatabase(tenant, async (client) => {
      const { rows } = await client.query<{ count: number }>(sql);
      return rows[0]?.count ?? 0;
    });
  }
});
