import assert from 'node:assert/strict';
import type { Rehearsal } from '../../../contract/rehearsal.ts';
import type { RenderedMigration } from '../../../contract/release.ts';
import type { Rollout } from '../../../contract/rollout.ts';
import { withClient } from '../../../platform/pg.ts';
import { clusters } from '../../support/clusters.ts';
import { startFleet, type Fleet } from '../../support/fleet.ts';
import { until } from '../../support/until.ts';
import { commandLine } from '../cli/command-line.ts';
import { rendered } from '../releases/tenant-database.ts';

type Drafts = (Partial<RenderedMigration> & { upSql: string })[];

const BASE: Drafts = [
  {
    upSql: `CREATE TABLE tasks (id int PRIMARY KEY, title text, size int);
            CREATE TABLE projects (id int PRIMARY KEY)`,
  },
];
/** As lint advises: what would lock for long is put off, and validated on its own. */
const CHECKED: Drafts = [
  { upSql: 'ALTER TABLE tasks ADD CONSTRAINT brief CHECK (length(title) < 20) NOT VALID' },
  { upSql: 'CREATE INDEX CONCURRENTLY tasks_title ON tasks (title)', transactional: false },
  { upSql: 'ALTER TABLE tasks VALIDATE CONSTRAINT brief' },
];
/** 0006 depends on the index, 0008 on the backfill, 0009 on nothing. */
const DEPENDENT: Drafts = [
  { upSql: 'CREATE UNIQUE INDEX CONCURRENTLY one_title ON tasks (title)', transactional: false },
  { upSql: 'ALTER TABLE tasks ADD CONSTRAINT one_title UNIQUE USING INDEX one_title' },
  {
    upSql: 'UPDATE tasks SET size = 0 WHERE size IS NULL AND id BETWEEN $1 AND $2',
    ...{ phase: 'migrate', transactional: false },
    backfill: { table: 'tasks', key: ['id'], batch: 100, verify: null },
  },
  { upSql: 'ALTER TABLE tasks ALTER COLUMN size SET NOT NULL' },
  { upSql: 'ALTER TABLE projects ADD CONSTRAINT few CHECK (id < 100)' },
];

const FINE = 'co-fine';
const BAD = 'co-bad';

describe('a rehearsal of what cannot wholly be tried in place', function () {
  this.timeout(60_000);
  let fleet: Fleet;
  const { cli, json } = commandLine(() => fleet);

  before(async () => {
    fleet = await startFleet({ publish: false });
    await publish('base', BASE);
    await fleet.admin.ok('POST', '/api/v1/rollouts', { release: 'base' });
    await Promise.all([FINE, BAD].map((slug) => fleet.createTenant(slug)));
    await run(FINE, `INSERT INTO tasks VALUES (1, 'short')`);
    await run(BAD, `INSERT INTO tasks VALUES (1, 'by far too long for the new rule')`);
    await publish('checked', [...BASE, ...CHECKED]);
  });
  after(() => fleet.stop());

  async function publish(name: string, drafts: Drafts): Promise<void> {
    const migrations = rendered(...drafts);
    const baseline = { migration: migrations.at(-1)?.name, reason: 'what is linted is not what is tested' };
    await fleet.admin.ok('POST', '/api/v1/releases', { name, migrations, baseline });
  }

  async function run(slug: string, sql: string): Promise<void> {
    const { rows } = await fleet.registry.query<{ name: string }>(
      'SELECT d.name FROM databases d JOIN tenants t ON t.id = d.tenant_id WHERE t.slug = $1',
      [slug],
    );
    const address = { ...clusters().eu.superuser, database: rows[0]?.name ?? '' };
    await withClient(address, { applicationName: 'test' }, (client) => client.query(sql));
  }

  async function plan(release: string): Promise<string> {
    const body = { release, waves: [{ name: 'all', bake: '1h' }] };
    return (await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts/plan', body)).id;
  }

  const outcomes = ({ targets }: Rehearsal, tenant: string) =>
    targets.find((target) => target.tenant === tenant)?.migrations.map(({ outcome }) => outcome);

  it('finds who would fail behind an index that is left out', async () => {
    const rollout = await plan('checked');
    const { code, stdout } = await cli(`rollout rehearse ${rollout} -o json`);
    assert.equal(code, 5);
    const found = JSON.parse(stdout) as Rehearsal;
    assert.deepEqual([found.counts.fails, found.counts.not_rehearsed, found.partly], [1, 1, 1]);
    assert.match(found.failures[0]?.message ?? '', /0004_m failed.*brief.*23514/);
    assert.deepEqual(found.failures[0]?.tenants, [BAD]);
    assert.deepEqual(outcomes(found, BAD), ['passed', 'not_rehearsed', 'failed']);
    assert.deepEqual(outcomes(found, FINE), ['passed', 'not_rehearsed', 'passed']);
    assert.match(found.gaps[0]?.message ?? '', /^0003_m runs outside of a transaction; .*--clone$/);
    assert.deepEqual(
      found.migrations.map(({ name, passed, failed, untried }) => [name, passed, failed, untried]),
      [
        ['0002_m', 2, 0, 0],
        ['0003_m', 0, 0, 2],
        ['0004_m', 1, 1, 0],
      ],
    );
    assert.deepEqual(found.untried, ['0003_m']);
  });

  it('is content once what failed passes, and tells what was tried nowhere', async () => {
    const rollout = await plan('checked');
    const refused = await cli(`rollout start ${rollout}`);
    assert.match(refused.stderr, /rehearsal_failed/);
    await run(BAD, `UPDATE tasks SET title = 'short'`);
    const { code, stdout, stderr } = await cli(`rollout rehearse ${rollout}`);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /state +! finished\n/);
    assert.match(stdout, /targets +2 total · 2 pass what can be tried in place\n/);
    assert.match(stderr, /not everything was tried: 0003_m was tried nowhere; .*--clone/);
    const strict = await cli(`rollout rehearse ${rollout} --strict`);
    assert.equal(strict.code, 5);
    assert.match(strict.stderr, /rehearsal_incomplete/);

    const clone = await json<Rehearsal>(`rollout rehearse ${rollout} --clone ${BAD} --max-hold 10s`);
    assert.deepEqual([clone.counts.passes, clone.partly, clone.untried], [1, 1, []]);
    const some = await cli(`rollout rehearse ${rollout} --tenant ${FINE}`);
    assert.match((await cli(`rollout get ${rollout}`)).stdout, /0003_m was tried nowhere: --clone/);
    assert.equal(some.code, 0, some.stderr);

    const started = await cli(`rollout start ${rollout}`);
    assert.equal(started.code, 0, started.stderr);
    assert.match(started.stderr, /0003_m was tried nowhere in its rehearsal/);
    await until('the wave bakes', async () => {
      const { waves } = await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${rollout}`);
      return waves[0]?.state === 'baking';
    });
  });

  it('tells what fails from what fails only without what was left out', async () => {
    await publish('dependent', [...BASE, ...CHECKED, ...DEPENDENT]);
    await run(BAD, 'INSERT INTO projects VALUES (100)');
    const rollout = await plan('dependent');
    const { code, stdout } = await cli(`rollout rehearse ${rollout} -o json`);
    assert.equal(code, 5);
    const found = JSON.parse(stdout) as Rehearsal;
    const left = ['not_rehearsed', 'not_rehearsed', 'not_rehearsed', 'not_rehearsed'];
    assert.deepEqual(outcomes(found, FINE), [...left, 'passed']);
    assert.deepEqual(outcomes(found, BAD), [...left, 'failed']);
    const [gap] = found.gaps;
    assert.match(gap?.message ?? '', /0006_m may depend on 0005_m, as it failed without \(SQLSTATE 42704\)/);
    assert.match(gap?.message ?? '', /0008_m may depend on 0006_m, 0007_m, as.*23502/);
  });

  it('starts a queued plan despite its rehearsal, when that was said', async () => {
    const [active] = (await fleet.admin.ok<{ items: Rollout[] }>('GET', '/api/v1/rollouts')).items.filter(
      ({ state }) => state === 'running',
    );
    const queued = await plan('dependent');
    const words = async () => {
      const { rows } = await fleet.registry.query<{ after: object }>(
        `SELECT after FROM audit_log WHERE resource = $1 AND action IN ('rollout.queue', 'rollout.despite_rehearsal')
          ORDER BY seq`,
        [`rollout:${queued}`],
      );
      return rows.map(({ after }) => after);
    };
    const start = (body: object) => fleet.admin.ok('POST', `/api/v1/rollouts/${queued}/start`, body);
    await start({ queue: true });
    await start({ queue: true, despiteRehearsal: true });
    const behind = { behind: active?.id };
    assert.deepEqual(await words(), [behind, { ...behind, despiteRehearsal: true }], 'a new word is taken');
    await fleet.admin.ok('POST', `/api/v1/rollouts/${active?.id ?? ''}/promote`, { full: true });
    await until('its turn comes', async () => {
      const { state } = await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${queued}`);
      return state !== 'planned';
    });
    assert.deepEqual((await words()).at(-1), { failing: [BAD] });
  });
});
