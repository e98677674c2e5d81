import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { CreatedKey } from '../../../contract/access.ts';
import type { RenderedMigration } from '../../../contract/release.ts';
import type { Problem } from '../../../contract/problem.ts';
import { RolloutSpec, type Rollout } from '../../../contract/rollout.ts';
import type { ReleaseDiff, RolloutSchemaDiff } from '../../../contract/schema-diff.ts';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import { migrationChecksum } from '../../../control-plane/releases/release.ts';
import { rolloutSchemaDiff } from '../../../control-plane/rollouts/plan/plan-diff.ts';
import { planUnlessDone } from '../../../control-plane/rollouts/verbs/start.ts';
import { readRollout } from '../../../control-plane/rollouts/view/view.ts';
import { apiClient } from '../../support/api.ts';
import { startFleet, type Fleet } from '../../support/fleet.ts';

/** Four migrations: a warning of the linter, one that is allowed, a backfill, and a new table. */
const ADDED: Pick<RenderedMigration, 'name' | 'upSql' | 'phase' | 'allow' | 'backfill' | 'transactional'>[] =
  [
    {
      ...{ name: '9001_done', phase: 'expand', transactional: true },
      upSql: 'ALTER TABLE tasks ADD COLUMN x boolean NOT NULL DEFAULT false',
    },
    {
      ...{ name: '9002_index', phase: 'expand', transactional: true },
      upSql: 'CREATE INDEX tasks_x ON tasks (x)',
      allow: [{ rule: 'require-concurrent-index-creation', reason: 'small tables' }],
    },
    {
      ...{ name: '9003_fill', phase: 'migrate', transactional: false },
      upSql: 'UPDATE tasks SET x = true WHERE id BETWEEN $1 AND $2 AND NOT x',
      backfill: { table: 'tasks', key: ['id'], batch: 100, verify: null },
    },
    {
      ...{ name: '9004_notes', phase: 'expand', transactional: true },
      upSql: 'CREATE TABLE notes (id bigint PRIMARY KEY, body text)',
    },
  ];

const ASKER = { caller: SYSTEM_CALLER, requestId: 'test' };

/** Tenants that the registry knows of, at the version of bolt; nobody visits their databases. */
const MANY_TENANTS = `
  WITH made AS (
    INSERT INTO tenants (id, slug, name, region, tier, state, labels)
    SELECT gen_random_uuid(), 'many-' || n, 'Many', 'eu', 'standard', 'active', '{}' FROM generate_series(1, 5000) n
    RETURNING id, slug
  ), like_bolt AS (
    SELECT d.* FROM databases d JOIN tenants t ON t.id = d.tenant_id WHERE t.slug = 'bolt'
  )
  INSERT INTO databases (id, tenant_id, server_id, name, owner_role, rw_role, login_a, login_b, state, schema_version,
                         connection_limit)
  SELECT gen_random_uuid(), m.id, b.server_id, replace(m.slug, '-', '_'), b.owner_role, b.rw_role, b.login_a, b.login_b,
         'ready', b.schema_version, 1
    FROM made m, like_bolt b`;

/** A window that is closed whenever this runs: one hour in four years. */
const NIGHT = [
  {
    match: { labels: { night: 'true' } },
    open: { cron: '30 1 29 2 *', for: '1h' },
    timeZone: 'Asia/Tokyo',
  },
];

describe('a plan, as it is read before it starts', () => {
  let fleet: Fleet;
  let names: string[];
  let base: RenderedMigration[];

  async function publish(name: string, count: number): Promise<void> {
    const added = ADDED.slice(0, count).map((one) => ({ ...one, file: `${one.name}.sql`, downSql: null }));
    await fleet.admin.ok('POST', '/api/v1/releases', { name, migrations: [...base, ...added] });
  }
  const plan = (spec: object): Promise<Rollout> =>
    fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts/plan', spec);
  const diffOf = (id: string): Promise<RolloutSchemaDiff> =>
    fleet.admin.ok<RolloutSchemaDiff>('GET', `/api/v1/rollouts/${id}/schema-diff`);
  /** What the registry knows of a tenant's schema. */
  const pretend = (slug: string, version: string): Promise<unknown> =>
    fleet.registry.query(
      'UPDATE databases SET schema_version = $2 WHERE tenant_id = (SELECT id FROM tenants WHERE slug = $1)',
      [slug, version],
    );

  /** What somebody does at a psql prompt: published migrations cannot be changed otherwise. */
  const byHand = (sql: string): Promise<unknown> =>
    fleet.registry.query(
      `BEGIN; ALTER TABLE migrations DISABLE TRIGGER USER; ${sql}; ALTER TABLE migrations ENABLE TRIGGER USER; COMMIT`,
    );

  before(async function () {
    this.timeout(120_000);
    fleet = await startFleet();
    await Promise.all([
      fleet.createTenant('acme', 'eu', { labels: { night: 'true' } }),
      fleet.createTenant('bolt', 'eu'),
      fleet.createTenant('cogs', 'us'),
    ]);
    const { items } = await fleet.admin.ok<{ items: { name: string }[] }>('GET', '/api/v1/releases');
    const { steps } = await fleet.admin.ok<{
      steps: { name: string; upSql: string; downSql: string | null }[];
    }>('GET', `/api/v1/releases/${items[0]?.name}`);
    base = steps.map(({ name, upSql, downSql }) => ({
      name,
      file: `${name}.sql`,
      upSql,
      downSql,
    })) as RenderedMigration[];
    names = steps.map(({ name }) => name);
    await publish('r3', 3);
    await publish('r4', 4);
    await pretend('cogs', '9002_index');
  });
  after(() => fleet.stop());

  it('says who lacks what, what lint found, whose word is needed, and who waits until when', async () => {
    const gates = { rows: { sql: 'select 1', equals: 1 } };
    const waves = [
      { name: 'canary', match: { tenants: ['bolt'] }, bake: '10m', approve: true, gates: ['rows'] },
      { name: 'rest' },
    ];
    const {
      id,
      plan: seen,
      waves: [canary],
    } = await plan({
      ...{ release: 'r4', approve: true, budget: { failures: '2%' } },
      ...{ calendar: NIGHT, gates, waves },
    });
    assert.ok(seen !== undefined);
    const all = ADDED.map(({ name }) => name);
    assert.deepEqual(seen.starts, [
      { from: names.at(-1) ?? null, targets: 2, missing: all },
      { from: '9002_index', targets: 1, missing: all.slice(2) },
    ]);
    assert.deepEqual(
      seen.migrations.map(({ name, phase, backfill }) => [name, phase, backfill?.table]),
      [
        ['9001_done', 'expand', undefined],
        ['9002_index', 'expand', undefined],
        ['9003_fill', 'migrate', 'tasks'],
        ['9004_notes', 'expand', undefined],
      ],
    );
    assert.deepEqual(
      seen.lint.map(({ rule, allowed }) => [rule, allowed]),
      [['require-concurrent-index-creation', 'small tables']],
    );
    const whose = { notBy: 'admin', roles: ['operator', 'admin'], approvedBy: null, approvedAt: null };
    assert.deepEqual(seen.approvals, [
      { wave: null, ...whose },
      { wave: 'canary', ...whose },
    ]);
    const [waiting, ...others] = seen.waiting;
    assert.deepEqual(others, []);
    assert.match(waiting?.first ?? '', /-02-28T16:30:00\.000Z$/);
    assert.deepEqual(waiting, {
      ...{ wave: 'rest', state: 'deferred', reason: 'outside its window', targets: 1 },
      ...{ first: waiting?.first, last: waiting?.first, timeZone: 'Asia/Tokyo' },
    });
    assert.deepEqual(
      [seen.budget, Object.keys(seen.gates), canary?.bakeSeconds],
      [{ failures: '2%' }, ['rows'], 600],
    );
    await fleet.admin.ok('POST', `/api/v1/rollouts/${id}/abort`, {});
    const over = await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);
    assert.equal(over.plan, undefined, 'there is nothing to decide any more');
  });

  it('tells a reader of one region of the targets there only', async () => {
    const { id } = await plan({ release: 'r4', calendar: NIGHT });
    const us = { name: `us-${randomUUID()}`, role: 'viewer', regions: ['us'] };
    const { token } = await fleet.admin.ok<CreatedKey>('POST', '/api/v1/keys', us);
    const reader = apiClient(fleet.url, token);
    const part = await reader.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);
    assert.deepEqual(
      [part.plan?.starts.map(({ targets }) => targets), part.plan?.waiting, part.plan?.migrations.length],
      [[1], [], 2],
    );
    const diff = await reader.ok<RolloutSchemaDiff>('GET', `/api/v1/rollouts/${id}/schema-diff`);
    assert.deepEqual(
      diff.starts.map(({ from, targets }) => [from, targets]),
      [['9002_index', 1]],
    );
  });

  it('says what would refuse a start now, naming only what the reader may see', async () => {
    const { id } = await plan({ release: 'r4' });
    const reachable = (value: boolean) =>
      fleet.registry.query("UPDATE servers SET reachable = $1 WHERE region = 'eu'", [value]);
    assert.deepEqual(
      (await fleet.registry.transaction((tx) => readRollout(tx, id, null))).plan?.cannotStart,
      [],
    );
    await reachable(false);
    const told = async (regions: string[] | null) =>
      (await fleet.registry.transaction((tx) => readRollout(tx, id, regions))).plan?.cannotStart;
    const [all] = (await told(null)) ?? [];
    const [us] = (await told(['us'])) ?? [];
    await reachable(true);
    assert.deepEqual([all?.code, all?.names], ['servers_unreachable', ['eu-1']]);
    assert.match(all?.message ?? '', /do not answer: eu-1$/);
    assert.deepEqual([us?.code, us?.names], ['servers_unreachable', []]);
    assert.doesNotMatch(us?.message ?? '', /eu-1/);
  });

  it('shows what it makes of the schema, in words and as a diff', async () => {
    const { id } = await plan({ release: 'r4' });
    const { starts } = await diffOf(id);
    const [most, few] = starts;
    assert.deepEqual([most?.targets, most?.from, most?.to], [2, names.at(-1), '9004_notes']);
    assert.deepEqual(
      [most?.absent, most?.schema?.summary],
      [
        null,
        [
          'table notes added (2 columns)',
          'table tasks: column x added (boolean, not null, default false)',
          'table tasks: index tasks_x added (USING btree (x))',
        ],
      ],
    );
    assert.match(most?.schema?.diff ?? '', new RegExp(`^--- ${names.at(-1)}\n\\+\\+\\+ 9004_notes\n@@`));
    assert.match(most?.schema?.diff ?? '', /^\+ {2}column x boolean not null default false$/m);
    assert.deepEqual(
      [few?.targets, few?.from, few?.schema, few?.absent?.code],
      [1, '9002_index', null, 'not_compared'],
    );
    assert.deepEqual(
      few?.migrations.map(({ name }) => name),
      ['9003_fill', '9004_notes'],
    );
  });

  it('says why the diff is absent where no server answers, and the plan is stored all the same', async () => {
    ADDED.push({
      ...{ name: '9005_more', phase: 'expand', transactional: true },
      upSql: 'CREATE TABLE more (id int)',
    });
    await publish('r5', 5);
    const { id, state } = await plan({ release: 'r5' });
    assert.equal(state, 'planned');
    const away = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    const servers = { ...fleet.controlPlane.deps.servers, admin: () => Promise.reject(away) };
    const { starts } = await rolloutSchemaDiff({ registry: fleet.registry, servers }, id, null);
    assert.deepEqual([starts[0]?.schema, starts[0]?.absent?.code], [null, 'ECONNREFUSED']);
    assert.match(starts[0]?.absent?.message ?? '', /could not be made on eu-1: connect ECONNREFUSED/);
    assert.equal(starts[0]?.migrations.length, 5);
  });

  it('compares two releases, in both directions', async () => {
    const diff = (path: string) => fleet.admin.ok<ReleaseDiff>('GET', `/api/v1/releases/${path}`);
    const r4 = await diff('r4/diff');
    assert.deepEqual([r4.fromRelease, r4.release, r4.backwards], ['r3', 'r4', false]);
    assert.deepEqual(r4.schema?.summary, ['table notes added (2 columns)']);
    const back = await diff('r3/diff?from=r4');
    assert.deepEqual([back.backwards, back.migrations.map(({ name }) => name)], [true, ['9004_notes']]);
    assert.deepEqual(back.schema?.summary, ['table notes removed (2 columns)']);
    const same = await diff('r4/diff?from=r4');
    assert.deepEqual([same.migrations, same.schema?.diff, same.findings], [[], '', []]);
    const r3 = await diff('r3/diff');
    assert.deepEqual(
      r3.findings.map(({ allowed }) => allowed),
      ['small tables'],
    );
    const unknown = await fleet.admin.call('GET', '/api/v1/releases/r4/diff?from=nope');
    assert.equal(unknown.status, 404);
  });

  it('refuses what was changed by hand in the registry, with both checksums and who has it', async () => {
    const { id } = await plan({ release: 'r5' });
    const { rows } = await fleet.registry.query<{ checksum: string }>(
      "SELECT checksum FROM migrations WHERE name = '9001_done'",
    );
    const published = rows[0]?.checksum ?? '';
    const refused = async (path: string, body: object): Promise<Problem> => {
      const answer = await fleet.admin.call<Problem>('POST', `/api/v1/rollouts${path}`, body);
      assert.deepEqual([answer.status, answer.body.code], [409, 'migration_edited'], path);
      return answer.body;
    };
    await byHand("UPDATE migrations SET up_sql = up_sql || ' ' WHERE name = '9001_done'");
    for (const [path, body] of [
      [`/${id}/start`, {}],
      ['/plan', { release: 'r5' }],
      ['', { release: 'r3' }],
    ] as const) {
      const { errors } = await refused(path, body);
      assert.deepEqual(
        errors?.map(({ path: name }) => name),
        ['9001_done'],
      );
      assert.match(
        errors?.[0]?.message ?? '',
        new RegExp(`published with checksum ${published}, now [0-9a-f]{64}; applied to cogs$`),
      );
    }
    await byHand("UPDATE migrations SET up_sql = rtrim(up_sql) WHERE name = '9001_done'");
    // An edit that brings its checksum along agrees with itself, but not with the release.
    await byHand("UPDATE migrations SET checksum = 'other', up_sql = '' WHERE name = '9004_notes'");
    await refused('/plan', { release: 'r4' });
    await byHand(
      `UPDATE migrations SET up_sql = '${ADDED[3]?.upSql}', checksum = '${migrationChecksum(ADDED[3]?.upSql ?? '', null)}'
        WHERE name = '9004_notes'`,
    );
    await byHand("UPDATE rollouts SET release_checksum = 'planned for something else'");
    const { detail } = await refused(`/${id}/start`, {});
    assert.match(detail, /release r5: published with checksum planned for something else, now [0-9a-f]{64}/);
  });

  it('is made and read with as many queries for 5,000 tenants as for three', async () => {
    await fleet.registry.query(MANY_TENANTS);
    const spec = RolloutSpec.parse({
      release: 'r5',
      calendar: [{ match: { region: 'eu' }, open: { cron: '0 3 1 1 *', for: '1h' } }],
    });
    const countsOf = async (release: string): Promise<{ queries: number; targets: number }> =>
      fleet.registry.transaction(async (tx) => {
        let queries = 0;
        const counting: typeof tx = {
          beforeCommit: (work) => tx.beforeCommit(work),
          query: (text, values) => {
            queries += 1;
            return tx.query(text, values);
          },
        };
        const planned = await planUnlessDone(counting, { ...spec, release }, ASKER);
        assert.ok(typeof planned === 'string');
        const { total, plan: seen } = await readRollout(counting, planned, null);
        assert.ok(seen !== undefined && seen.waiting.length === 1);
        return { queries, targets: total };
      });
    const many = await countsOf('r5');
    assert.equal(many.targets, 5_003);
    await fleet.registry.query(
      "UPDATE tenants SET state = 'deleted', deleted_at = now() WHERE slug LIKE 'many-%'",
    );
    assert.deepEqual(await countsOf('r5'), { queries: many.queries, targets: 3 });
  });
});
