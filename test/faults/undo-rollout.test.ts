import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { RenderedMigration } from '../../contract/release.ts';
import type { Rollout } from '../../contract/rollout.ts';
import type { Tenant } from '../../contract/tenant.ts';
import { readSchema } from '../../control-plane/releases/schema.ts';
import { withClient } from '../../platform/pg.ts';
import { clusters } from '../support/clusters.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { sized } from '../support/full-size.ts';
import { until } from '../support/until.ts';

const TENANTS = sized(20, 100);
/** Reached by the first two waves; the third fails at its first target. */
const REACHED = sized(8, 40);
const WAVES = [
  { name: 'canary', count: 3, parallel: 1 },
  { name: 'some', count: REACHED - 3, parallel: 1 },
  { name: 'others', percent: 100, parallel: 1 },
];

type Draft = Partial<RenderedMigration> & Pick<RenderedMigration, 'name' | 'upSql'>;

const BASE: Draft[] = [{ name: '0001_a', upSql: 'CREATE TABLE a (id int, note text)' }];
const COLUMN: Draft = {
  name: '0002_column',
  upSql: 'ALTER TABLE a ADD more text; INSERT INTO a VALUES (1)',
  downSql: 'DELETE FROM a WHERE id = 1; ALTER TABLE a DROP more',
};
const INDEX: Draft = {
  name: '0003_index',
  upSql: 'CREATE INDEX CONCURRENTLY a_more ON a (more)',
  downSql: 'DROP INDEX CONCURRENTLY a_more',
  transactional: false,
};
const GATE: Draft = {
  name: '0004_gate',
  upSql: 'ALTER TABLE a ADD CONSTRAINT few CHECK (id < 100) NOT VALID; ALTER TABLE a VALIDATE CONSTRAINT few',
  downSql: 'ALTER TABLE a DROP CONSTRAINT few',
};

const THIRD: Draft[] = [
  ...[...BASE, COLUMN, INDEX, GATE],
  {
    name: '0005_drop',
    upSql: 'ALTER TABLE a DROP note',
    downSql: 'ALTER TABLE a ADD note text',
    phase: 'contract',
  },
  { name: '0006_more', upSql: 'CREATE TABLE b (id int)' },
];
const TABLE: Draft = {
  name: '0007_table',
  upSql: 'CREATE TABLE c (id bigint PRIMARY KEY, done boolean NOT NULL DEFAULT false)',
};
const FILL: Draft = {
  name: '0008_fill',
  upSql: 'UPDATE c SET done = true WHERE id BETWEEN $1 AND $2',
  downSql: '',
  phase: 'migrate',
  transactional: false,
  backfill: { table: 'c', key: ['id'], batch: 10, verify: null },
};
const MARK: Draft = {
  name: '0009_mark',
  upSql: 'ALTER TABLE c ADD mark int',
  downSql: 'ALTER TABLE c DROP mark',
};
const TWO: Draft = {
  name: '0010_two',
  upSql: 'CREATE INDEX CONCURRENTLY c_one ON c (done); CREATE UNIQUE INDEX CONCURRENTLY c_two ON c (mark)',
  downSql: 'DROP INDEX CONCURRENTLY c_two; DROP INDEX CONCURRENTLY c_one',
  transactional: false,
};

describe(`13: undo of a rollout that reached ${REACHED} of ${TENANTS} tenants`, function () {
  this.timeout(sized(120_000, 600_000));
  let fleet: Fleet;
  let tenants: Tenant[];
  let rollout: Rollout;
  let untouched: Map<string, string>;

  before(async () => {
    fleet = await startFleet({ publish: false });
    await publish('r1', BASE);
    await eachAtOnce([...Array(TENANTS).keys()], 4, (index) =>
      fleet.createTenant(slugOf(index), index < TENANTS / 2 ? 'eu' : 'us'),
    );
    tenants = (await fleet.admin.ok<{ items: Tenant[] }>('GET', '/api/v1/tenants?limit=100')).items;
  });
  after(() => fleet.stop());

  it('is refused before the first target, naming what cannot go back', async () => {
    await publish('r2', [...BASE, COLUMN, INDEX, GATE]);
    untouched = await fingerprints();
    // The first tenant of the last wave has data that the last migration refuses.
    await onDatabase(slugOf(REACHED), 'INSERT INTO a VALUES (100)');
    rollout = await run('r2', WAVES, 'halted');
    assert.equal(rollout.counts.verified, REACHED);
    const other = await fleet.admin.call<{ code: string }>(
      'POST',
      `/api/v1/rollouts/${randomUUID()}/undo`,
      {},
    );
    assert.equal(other.status, 404);

    await setTenantState(slugOf(1), 'moving');
    const moving = await fleet.admin.call<Problem>('POST', `/api/v1/rollouts/${rollout.id}/undo`, {});
    assert.deepEqual([moving.status, moving.body.code], [409, 'undo_blocked']);
    assert.match(moving.body.detail, new RegExp(slugOf(1)));
    await setTenantState(slugOf(1), 'active');
    assert.deepEqual((await read(rollout.id)).state, 'halted');
  });

  it('changes exactly those, in reverse order, and leaves every schema as it was', async () => {
    const asked = await fleet.admin.call<Problem>('POST', `/api/v1/rollouts/${rollout.id}/undo`, {
      confirm: 'r1',
    });
    assert.deepEqual([asked.status, asked.body.code], [422, 'confirmation_required']);
    assert.deepEqual(asked.body.errors, [
      { path: '0002_column', message: 'deletes rows of a, drops the column more of a' },
    ]);
    assert.equal((await read(rollout.id)).state, 'halted');
    const undo = await undoOf(rollout.id, 'r2');
    assert.equal(undo.undoOf, rollout.id);
    assert.deepEqual((await read(rollout.id)).state, 'undoing');
    const again = await fleet.admin.ok<Rollout>('POST', `/api/v1/rollouts/${rollout.id}/undo`, {});
    assert.equal(again.id, undo.id, 'nothing is asked twice');
    const done = await over(undo.id);
    assert.deepEqual([done.state, done.cause], ['succeeded', null]);

    const order = done.targets.map(({ tenant }) => tenant);
    const reached = rollout.targets.filter(({ tries }) => tries > 0).map(({ tenant }) => tenant);
    assert.equal(reached.length, REACHED + 1);
    assert.deepEqual(order, reached.toReversed());
    const ended = [...done.targets].sort((a, b) => (a.finishedAt ?? '').localeCompare(b.finishedAt ?? ''));
    assert.deepEqual(
      ended.map(({ tenant }) => tenant),
      order,
    );
    // What failed at the last migration had the two before it.
    assert.deepEqual(
      done.targets.map(({ applied }) => applied?.map(({ name }) => name)),
      reached.map((_tenant, index) =>
        index === 0 ? ['0003_index', '0002_column'] : ['0004_gate', '0003_index', '0002_column'],
      ),
    );

    const original = await read(rollout.id);
    assert.equal(original.state, 'undone');
    assert.equal(original.counts.undone, REACHED + 1);
    assert.equal(original.counts.verified, 0);
    assert.deepEqual(await fingerprints(), untouched);
    const { items } = await fleet.admin.ok<{ items: Tenant[] }>('GET', '/api/v1/tenants?limit=100');
    assert.deepEqual(new Set(items.map(({ schemaVersion }) => schemaVersion)), new Set(['0001_a']));
    const { items: log } = await fleet.admin.ok<{ items: { action: string; resource: string }[] }>(
      'GET',
      '/api/v1/audit?limit=50',
    );
    assert.ok(log.some((entry) => entry.action === 'rollout.undo' && entry.resource.endsWith(rollout.id)));
  });

  it('of a rollout that succeeded lets new tenants be born where they were before', async () => {
    await onDatabase(slugOf(REACHED), 'DELETE FROM a');
    const whole = await run('r2', [{ name: 'all', parallel: 8 }], 'succeeded');
    assert.equal(await currentRelease(), 'r2');
    const undo = await undoOf(whole.id, 'r2');
    assert.equal(await currentRelease(), 'r1');
    assert.equal((await over(undo.id)).counts.verified, TENANTS);
    assert.deepEqual(await fingerprints(), untouched);
    const born = await fleet.createTenant('newborn', 'eu');
    assert.equal(born.schemaVersion, '0001_a');
    const nothing = await fleet.admin.call<Problem>('POST', `/api/v1/rollouts/${whole.id}/undo`, {});
    assert.equal(nothing.status, 409);
  });

  it('that is given up says what went back, and may be asked for again', async () => {
    const whole = await run('r2', [{ name: 'all', parallel: 8 }], 'succeeded');
    await onDatabase(slugOf(3), 'CREATE VIEW v AS SELECT more FROM a');
    const undo = await undoOf(whole.id, 'r2');
    const refused = await over(undo.id);
    const { error } = refused.targets.find(({ tenant }) => tenant === slugOf(3)) ?? {};
    assert.deepEqual([refused.state, error?.code], ['halted', 'schema_drifted']);
    await fleet.admin.ok('POST', `/api/v1/drift/tenants/${slugOf(3)}/accept`, { reason: 'a report' });
    await fleet.admin.ok('POST', `/api/v1/rollouts/${undo.id}/retry`, {});
    assert.equal((await over(undo.id)).state, 'halted');
    // Two migrations went back before the one that could not: who plans next must find it behind.
    const stuck = await fleet.admin.ok<Tenant>('GET', `/api/v1/tenants/${slugOf(3)}`);
    assert.equal(stuck.schemaVersion, '0002_column');
    const busy = await fleet.admin.call<Problem>('POST', '/api/v1/rollouts', { release: 'r2' });
    assert.deepEqual([busy.status, busy.body.code], [409, 'rollout_active']);
    await fleet.admin.ok('POST', `/api/v1/rollouts/${undo.id}/abort`, {});
    const partly = await read(whole.id);
    assert.equal(partly.state, 'aborted');
    assert.ok(partly.counts.undone > 0 && partly.counts.verified > 0);
    await onDatabase(slugOf(3), 'DROP VIEW v');
    const second = await undoOf(whole.id, 'r2');
    assert.equal((await over(second.id)).state, 'succeeded');
    assert.deepEqual((await read(whole.id)).counts.undone, TENANTS + 1);
  });

  it('is refused where a migration has no way back, or a later release stands on top', async () => {
    const whole = await run('r2', [{ name: 'all', parallel: 8 }], 'succeeded');
    await publish('r3', THIRD);
    const later = await run('r3', [{ name: 'all', parallel: 8 }], 'succeeded');
    const under = await fleet.admin.call<Problem>('POST', `/api/v1/rollouts/${whole.id}/undo`, {});
    assert.deepEqual([under.status, under.body.code], [409, 'release_superseded']);
    const stuck = await fleet.admin.call<Problem>('POST', `/api/v1/rollouts/${later.id}/undo`, {});
    assert.deepEqual([stuck.status, stuck.body.code], [409, 'migration_irreversible']);
    assert.deepEqual(
      stuck.body.errors.map(({ path }) => path),
      ['0005_drop', '0006_more'],
    );
    assert.equal((await read(later.id)).state, 'succeeded');
    assert.equal(await currentRelease(), 'r3');
  });

  it('passes the gates of its rollout too, and takes a backfill back without its rows', async () => {
    await publish('r4', [...THIRD, TABLE]);
    await run('r4', [{ name: 'all', parallel: 8 }], 'succeeded');
    await onDatabase(slugOf(0), 'INSERT INTO c SELECT generate_series(1, 30)');
    await publish('r5', [...THIRD, TABLE, FILL, MARK]);
    const gates = { rows: { sql: 'select count(*) from c where id > 100', equals: 0 } };
    const waves = [{ name: 'all', parallel: 8, gates: ['rows'] }];
    const filled = await run('r5', waves, 'succeeded', { gates });
    const done = 'SELECT count(*)::int AS rows FROM c WHERE done';
    assert.deepEqual(await onDatabase(slugOf(0), done), [{ rows: 30 }]);
    await onDatabase(slugOf(0), 'INSERT INTO c VALUES (101)');
    const undo = await undoOf(filled.id, 'r5');
    const halted = await over(undo.id);
    assert.deepEqual([halted.state, halted.cause?.code], ['halted', 'gate_failed']);
    assert.equal(halted.counts.verified, TENANTS + 1);
    await onDatabase(slugOf(0), 'DELETE FROM c WHERE id = 101');
    await fleet.admin.ok('POST', `/api/v1/rollouts/${undo.id}/retry`, {});
    assert.equal((await over(undo.id)).state, 'succeeded');
    assert.deepEqual(await onDatabase(slugOf(0), done), [{ rows: 30 }], 'what it filled stays');
    assert.deepEqual(await onDatabase(slugOf(0), 'SELECT FROM fleet.backfills'), []);
    // Taken back, it begins anew.
    await onDatabase(slugOf(0), 'UPDATE c SET done = false WHERE id < 11');
    await run('r5', waves, 'succeeded', { gates });
    assert.deepEqual(await onDatabase(slugOf(0), done), [{ rows: 30 }]);
  });

  it('is refused while a migration is half applied somewhere', async () => {
    await publish('r6', [...THIRD, TABLE, FILL, MARK, TWO]);
    await onDatabase(slugOf(0), 'UPDATE c SET mark = 1 WHERE id < 3');
    const half = await run('r6', [{ name: 'all', parallel: 8, budget: { failures: 1 } }], 'halted');
    const refused = await fleet.admin.call<Problem>('POST', `/api/v1/rollouts/${half.id}/undo`, {});
    assert.deepEqual([refused.status, refused.body.code], [409, 'migration_half_applied']);
    assert.deepEqual(
      refused.body.errors.map(({ path }) => path),
      [slugOf(0)],
    );
    await onDatabase(slugOf(0), 'UPDATE c SET mark = id');
    await fleet.admin.ok('POST', `/api/v1/rollouts/${half.id}/retry`, {});
    assert.equal((await over(half.id)).state, 'succeeded');
    // It drops two indexes, and no data.
    const undo = await fleet.admin.ok<Rollout>('POST', `/api/v1/rollouts/${half.id}/undo`, {});
    assert.equal((await over(undo.id)).state, 'succeeded');
  });

  interface Problem {
    code: string;
    detail: string;
    errors: { path: string; message?: string }[];
  }

  const undoOf = (id: string, confirm: string) =>
    fleet.admin.ok<Rollout>('POST', `/api/v1/rollouts/${id}/undo`, { reason: 'slow', confirm });

  const slugOf = (index: number): string => `undo-${String(index).padStart(2, '0')}`;

  async function publish(name: string, migrations: Draft[]): Promise<void> {
    const rendered = migrations.map((draft) => ({ downSql: null, file: `${draft.name}.sql`, ...draft }));
    // Not what a linter is asked about here.
    const baseline = { migration: rendered.at(-1)?.name, reason: 'made for a test' };
    await fleet.admin.ok('POST', '/api/v1/releases', { name, migrations: rendered, baseline });
  }

  async function run(release: string, waves: object[], state: string, more = {}): Promise<Rollout> {
    const { id } = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts', { release, waves, ...more });
    const rollout = await over(id);
    assert.equal(rollout.state, state, JSON.stringify(rollout.cause));
    return rollout;
  }

  const read = (id: string) => fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);

  const over = (id: string) =>
    until(`rollout ${id} is over`, async () => {
      const rollout = await read(id);
      return ['running', 'undoing'].includes(rollout.state) ? undefined : rollout;
    });

  async function currentRelease(): Promise<string | undefined> {
    const { items } = await fleet.admin.ok<{ items: { name: string; current: boolean }[] }>(
      'GET',
      '/api/v1/releases',
    );
    return items.find(({ current }) => current)?.name;
  }

  function superuser(slug: string) {
    const tenant = tenants.find((candidate) => candidate.slug === slug);
    assert.ok(tenant?.database);
    return { ...clusters()[tenant.region as 'eu' | 'us'].superuser, database: tenant.database };
  }

  async function onDatabase(slug: string, sql: string): Promise<unknown[]> {
    return withClient(superuser(slug), { applicationName: 'test' }, async (client) => {
      const { rows } = await client.query<Record<string, unknown>>(sql);
      return rows;
    });
  }

  async function setTenantState(slug: string, state: string): Promise<void> {
    await fleet.registry.query('UPDATE tenants SET state = $2 WHERE slug = $1', [slug, state]);
  }

  async function fingerprints(): Promise<Map<string, string>> {
    const { rows } = await fleet.registry.query<
      Record<'slug' | 'owner' | 'rw' | 'login_a' | 'login_b', string>
    >(
      `SELECT t.slug, d.owner_role AS owner, d.rw_role AS rw, d.login_a, d.login_b
         FROM tenants t JOIN databases d ON d.tenant_id = t.id`,
    );
    const found = new Map<string, string>();
    for (const { slug } of tenants) {
      const roles = rows.find((row) => row.slug === slug);
      assert.ok(roles !== undefined);
      await withClient(superuser(slug), { applicationName: 'test' }, async (client) => {
        const { owner: ownerRole, rw: rwRole, login_a, login_b } = roles;
        await client.query('BEGIN');
        const schema = await readSchema(client, { ownerRole, rwRole, logins: [login_a, login_b] });
        const { rows: data } = await client.query('SELECT id, note FROM public.a WHERE id < 100 ORDER BY id');
        found.set(slug, `${schema.fingerprint} ${JSON.stringify(data)}`);
      });
    }
    return found;
  }
});
