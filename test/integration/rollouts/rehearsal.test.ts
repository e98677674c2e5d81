import assert from 'node:assert/strict';
import type { RolloutStanding } from '../../../contract/progress.ts';
import type { Rehearsal, RehearsalTarget } from '../../../contract/rehearsal.ts';
import type { Rollout } from '../../../contract/rollout.ts';
import { dropLeftClones } from '../../../control-plane/rollouts/rehearsals/clone.ts';
import { isSameStamp, readStamp, type SchemaStamp } from '../../../control-plane/releases/stamp.ts';
import { readLiveSchema } from '../../../control-plane/releases/schema-live.ts';
import { withClient, type PgAddress, type PgClient } from '../../../platform/pg.ts';
import { clusters } from '../../support/clusters.ts';
import { eachAtOnce } from '../../support/concurrency.ts';
import { startFleet, type Fleet } from '../../support/fleet.ts';
import { sized } from '../../support/full-size.ts';
import { until } from '../../support/until.ts';
import { commandLine } from '../cli/command-line.ts';
import { rendered } from '../releases/tenant-database.ts';
import { RELEASES, SLEEP_S } from './rehearsal-releases.ts';

/** One of so many has data that the release does not bear. */
const TENANTS = sized(12, 200);
const BAD = sized('co-10', 'co-173');
/** Has a transaction open when the others are rehearsed. */
const BUSY = 'co-3';
const PARALLEL = 4;

/** Between what the server gives up and what a reader sees of it: a loaded machine's scheduling. */
const SLACK_MS = 400;

describe('a rehearsal', function () {
  this.timeout(sized(60_000, 600_000));
  let fleet: Fleet;
  const { cli, json } = commandLine(() => fleet);
  const databases = new Map<string, { name: string; owner: string; rw: string }>();
  const slugs = Array.from({ length: TENANTS }, (_none, index) => `co-${index + 1}`);

  before(async () => {
    fleet = await startFleet({ publish: false });
    await publish('base');
    await fleet.admin.ok('POST', '/api/v1/rollouts', { release: 'base' });
    await eachAtOnce(slugs, 8, (slug) => fleet.createTenant(slug));
    const { rows } = await fleet.registry.query<{ slug: string; name: string; owner: string; rw: string }>(
      `SELECT t.slug, d.name, d.owner_role AS owner, d.rw_role AS rw FROM databases d
         JOIN tenants t ON t.id = d.tenant_id WHERE d.state = 'ready'`,
    );
    for (const { slug, ...database } of rows) databases.set(slug, database);
    await Promise.all(slugs.map((slug) => run(slug, `INSERT INTO tasks VALUES (1, 'short')`)));
    await run(BAD, `INSERT INTO tasks VALUES (2, 'by far too long for the new rule')`);
  });
  after(() => fleet.stop());

  async function publish(name: string): Promise<void> {
    const until = Object.keys(RELEASES).indexOf(name);
    const drafts = Object.values(RELEASES)
      .slice(0, until + 1)
      .flat();
    const migrations = rendered(...drafts);
    const baseline = { migration: migrations.at(-1)?.name, reason: 'what is linted is not what is tested' };
    await fleet.admin.ok('POST', '/api/v1/releases', { name, migrations, baseline });
  }

  function addressOf(slug: string): PgAddress {
    return { ...clusters().eu.superuser, database: databases.get(slug)?.name ?? '' };
  }

  function run(slug: string, work: string | ((client: PgClient) => Promise<unknown>)): Promise<unknown> {
    return withClient<unknown>(addressOf(slug), { applicationName: 'test' }, (client) =>
      typeof work === 'string' ? client.query(work) : work(client),
    );
  }

  async function plan(release: string, more: object = {}): Promise<string> {
    const body = { release, waves: [{ name: 'all', parallel: PARALLEL }], ...more };
    return (await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts/plan', body)).id;
  }

  async function begin(rollout: string, body: object = {}): Promise<string> {
    const { status, headers } = await fleet.admin.call(
      'POST',
      `/api/v1/rollouts/${rollout}/rehearsals`,
      body,
    );
    assert.equal(status, 202);
    return headers.location ?? '';
  }

  async function rehearse(rollout: string, body: object = {}): Promise<Rehearsal> {
    const location = await begin(rollout, body);
    return ended<Rehearsal>(location);
  }

  const ended = <T extends { finishedAt: string | null }>(path: string): Promise<T> =>
    until(
      `${path} ends`,
      async () => {
        const read = await fleet.admin.ok<T>('GET', path);
        return read.finishedAt === null ? undefined : read;
      },
      sized(20_000, 300_000),
    );

  function of({ targets }: Rehearsal, tenant: string): RehearsalTarget {
    const found = targets.find((target) => target.tenant === tenant);
    assert.ok(found, `${tenant} was rehearsed`);
    return found;
  }

  /** Everything that could be left behind: schema, rows, records, sessions. */
  async function traces(): Promise<unknown[]> {
    return Promise.all(
      slugs.map(async (slug) => {
        const { name, owner, rw } = databases.get(slug) ?? { name: '', owner: '', rw: '' };
        const [server] = await fleet.admin
          .ok<{ items: { id: string; name: string }[] }>('GET', '/api/v1/servers')
          .then(({ items }) => items.filter((each) => each.name === 'eu-1'));
        const address = await fleet.controlPlane.deps.servers.migrator(server?.id ?? '', {
          database: name,
          ownerRole: owner,
        });
        const roles = { ownerRole: owner, rwRole: rw, logins: [] };
        const live = await readLiveSchema(address, { applicationName: 'test', roles });
        return withClient(addressOf(slug), { applicationName: 'test' }, async (client) => {
          const { rows } = await client.query(
            `SELECT (SELECT count(*) FROM tasks) AS tasks, (SELECT count(*) FROM projects) AS projects,
                    (SELECT json_agg(m) FROM fleet.migrations m) AS migrations,
                    (SELECT json_agg(p) FROM fleet.progress p) AS progress,
                    (SELECT json_agg(p) FROM pgmigrations p) AS pgmigrations,
                    (SELECT relfilenode FROM pg_class WHERE relname = 'projects') AS file,
                    (SELECT last_value FROM pgmigrations_id_seq) AS last_id`,
          );
          return [live?.schema.fingerprint, rows];
        });
      }),
    );
  }

  /** Whether the registry knows that nobody has touched the schema since it was compared. */
  async function isStamped(slug: string): Promise<boolean> {
    const { rows } = await fleet.registry.query<{ stamp: SchemaStamp | null }>(
      'SELECT schema_stamp AS stamp FROM databases WHERE name = $1',
      [databases.get(slug)?.name],
    );
    const stamp = rows[0]?.stamp ?? null;
    if (stamp === null) return false;
    return withClient(addressOf(slug), { applicationName: 'test' }, async (client) =>
      isSameStamp(stamp, await readStamp(client, stamp.version)),
    );
  }

  async function copies(): Promise<string[]> {
    return withClient(clusters().eu.superuser, { applicationName: 'test' }, async (client) => {
      const { rows } = await client.query<{ name: string }>(
        `SELECT datname AS name FROM pg_database WHERE starts_with(datname, 'fleet_rehearsal_')`,
      );
      return rows.map(({ name }) => name);
    });
  }

  it(`finds the one of ${TENANTS} tenants that would fail, and leaves nothing behind`, async () => {
    await publish('strict');
    const before = await traces();
    const rollout = await plan('strict');
    assert.equal((await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${rollout}`)).estimate, null);
    const blocker = new AbortController();
    const blocking = run(BUSY, async (client) => {
      await client.query('BEGIN; SELECT FROM tasks');
      await new Promise((resolve) => blocker.signal.addEventListener('abort', resolve));
    });
    const found = await rehearse(rollout, { reason: 'before the night' });
    blocker.abort();
    await blocking;

    assert.equal(found.state, 'succeeded');
    const { passes, fails, busy } = found.counts;
    assert.deepEqual([passes, fails, busy, found.total], [TENANTS - 2, 1, 1, TENANTS]);
    const [failure] = found.failures;
    assert.deepEqual([failure?.code, failure?.tenants], ['migration_failed', [BAD]]);
    assert.match(failure?.message ?? '', /0003_m failed.*brief.*23514/);
    const outcomes = of(found, BAD).migrations.map(({ outcome }) => outcome);
    assert.deepEqual(outcomes, ['passed', 'failed'], 'what comes before it was tried as well');

    const waited = of(found, BUSY);
    assert.equal(waited.outcome, 'busy');
    assert.match(waited.error?.message ?? '', /55P03.*blocked by pid \d+ \(test, idle in transaction/);
    assert.deepEqual(await traces(), before);
    assert.ok(await isStamped('co-1'), 'its schema need not be compared again');
    assert.ok(
      (await fleet.registry.query("SELECT FROM audit_log WHERE action = 'rollout.rehearse'")).rowCount === 1,
    );
  });

  it('says what is locked and written again, and how long the rollout will take', async () => {
    const [last] = await fleet.admin
      .ok<{ items: Rollout[] }>('GET', '/api/v1/rollouts')
      .then(({ items }) => items.filter(({ release }) => release === 'strict'));
    const rollout = await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${last?.id ?? ''}`);
    assert.equal(rollout.rehearsal?.counts.fails, 1);
    const { rehearsal } = rollout;
    const found = await fleet.admin.ok<Rehearsal>(
      'GET',
      `/api/v1/rollouts/${rollout.id}/rehearsals/${rehearsal.id}`,
    );
    const target = of(found, 'co-1');
    assert.deepEqual(target.locks.map(({ table, mode, migration }) => [table, mode, migration]).sort(), [
      ['projects', 'AccessExclusive', '0002_m'],
      ['tasks', 'AccessExclusive', '0003_m'],
    ]);
    assert.deepEqual(
      target.rewrites.map(({ table, migration }) => [table, migration]),
      [['projects', '0002_m']],
    );
    assert.equal(target.migrations[1]?.rows, 1);
    const [heaviest] = found.tables;
    assert.deepEqual([heaviest?.table, heaviest?.rewritten], ['projects', TENANTS]);
    const held = found.heldMs?.median ?? 0;
    assert.ok(held >= SLEEP_S * 1_000 && held < found.maxHoldMs, `held for ${held} ms`);
    const { estimate } = rollout;
    const rounds = TENANTS / PARALLEL;
    assert.equal(estimate?.basis, 'rehearsal');
    assert.ok((estimate?.seconds ?? 0) >= rounds * SLEEP_S, `${estimate?.seconds} s for ${rounds} rounds`);
    assert.deepEqual(
      estimate?.perWave.map(({ wave }) => wave),
      ['all'],
    );
  });

  it('keeps a rollout from starting until a later one passes, unless a person wants it all the same', async () => {
    const rollout = await plan('strict');
    const start = (body: object = {}) =>
      fleet.admin.call<{ code: string; detail: string }>('POST', `/api/v1/rollouts/${rollout}/start`, body);
    const refused = await start();
    assert.deepEqual([refused.status, refused.body.code], [409, 'rehearsal_failed'], 'of another plan, too');
    assert.match(refused.body.detail, new RegExp(`would fail on ${BAD},`));
    const atOnce = await fleet.admin.call<{ code: string }>('POST', '/api/v1/rollouts', {
      release: 'strict',
    });
    assert.equal(atOnce.body.code, 'rehearsal_failed');

    const said = await cli(`rollout rehearse --release strict --tenant ${BAD}`);
    assert.equal(said.code, 5, said.stderr);
    assert.match(said.stdout, new RegExp(`^would fail\n✖ migration_failed × 1: ${BAD}\n {4}0003_m failed`));
    assert.match(
      said.stderr,
      /planned rollout .*fleet rollout start[^]*rehearsal_failed[^]*1 target of rollout/,
    );
    const unknown = await cli('rollout rehearse nothing.yaml');
    assert.deepEqual(
      [unknown.code, (await cli(`rollout rehearse ${rollout} --release strict`)).code],
      [2, 2],
    );

    const careless = await plan('strict', { approve: true });
    const path = `/api/v1/rollouts/${careless}`;
    const waiting = await fleet.admin.ok<RolloutStanding>('POST', `${path}/start`, {
      despiteRehearsal: true,
    });
    assert.equal(waiting.state, 'awaiting_approval');
    const { rows } = await fleet.registry.query<{ after: object }>(
      "SELECT after FROM audit_log WHERE action = 'rollout.despite_rehearsal'",
    );
    assert.deepEqual(rows, [{ after: { failing: [BAD] } }]);
    await fleet.admin.ok('POST', `${path}/abort`);

    await run(BAD, 'DELETE FROM tasks WHERE id = 2');
    const again = await json<Rehearsal>(`rollout rehearse ${rollout} --tenant ${BAD}`);
    assert.deepEqual([again.counts.passes, again.total], [1, 1]);
    const { body } = await start();
    const startedAt = performance.now();
    assert.equal((body as unknown as Rollout).state, 'running');
    const { state } = await ended<Rollout>(`/api/v1/rollouts/${rollout}`);
    const tookS = (performance.now() - startedAt) / 1_000;
    assert.equal(state, 'succeeded');
    const predictedS = again.estimate?.seconds ?? 0;
    assert.ok(
      predictedS > tookS / 10 && predictedS < tookS * 10,
      `${predictedS} s predicted, ${tookS} s taken`,
    );
    const wrong = await fleet.admin.call<{ code: string }>(
      'POST',
      `/api/v1/rollouts/${rollout}/rehearsals`,
      {},
    );
    assert.deepEqual([wrong.status, wrong.body.code], [409, 'wrong_state']);
  });

  it('never lets a reader wait longer than the bound', async () => {
    await publish('long');
    const maxHoldMs = 150;
    const rollout = await plan('long');
    const location = await begin(rollout, { tenants: ['co-1', 'co-2'], maxHoldMs });
    const waits: number[] = [];
    let over = false;
    await run('co-1', async (client) => {
      while (!over) {
        const begun = performance.now();
        await client.query('SELECT count(*) FROM tasks');
        waits.push(performance.now() - begun);
        over = (await fleet.admin.ok<Rehearsal>('GET', location)).finishedAt !== null;
      }
    });
    const found = await fleet.admin.ok<Rehearsal>('GET', location);
    const longest = Math.max(...waits);
    assert.ok(longest > 50, 'somebody has waited');
    assert.ok(longest < maxHoldMs + SLACK_MS, `a reader has waited for ${longest} ms`);
    assert.equal(found.counts.not_rehearsed, 2);
    assert.match(of(found, 'co-1').reason ?? '', /0004_m was ended after 150 ms.*--clone.*--max-hold/);
    const [held] = [found.heldMs?.max ?? 0];
    assert.ok(held < maxHoldMs + SLACK_MS, `held for ${held} ms`);
  });

  it('tells what cannot be tried in place from what fails', async () => {
    await publish('mood');
    await run('co-5', 'CREATE TABLE by_hand (id int)');
    const found = await rehearse(await plan('mood'), { tenants: ['co-1', 'co-5'] });
    await run('co-5', 'DROP TABLE by_hand');
    assert.deepEqual([of(found, 'co-5').outcome, of(found, 'co-5').error?.code], ['fails', 'schema_drifted']);
    const { outcome, reason, migrations } = of(found, 'co-1');
    assert.equal(outcome, 'not_rehearsed');
    assert.match(reason ?? '', /0006_m uses an enum value/);
    assert.deepEqual(
      migrations.map((migration) => migration.outcome),
      ['passed', 'passed', 'not_rehearsed'],
    );
  });

  it('runs what needs no transaction on a copy, which is gone afterwards', async () => {
    await publish('index');
    const rollout = await plan('index');
    let sessions: Promise<unknown> = Promise.resolve();
    const leave = new AbortController();
    await new Promise<void>((resolve) => {
      sessions = run('co-4', async (client) => {
        await client.query('SELECT 1');
        resolve();
        await new Promise((done) => leave.signal.addEventListener('abort', done));
      });
    });
    const before = await traces();
    const found = await rehearse(rollout, {
      tenants: ['co-1'],
      clone: ['co-2', 'co-4'],
      clones: 1,
      maxHoldMs: 5_000,
    });
    leave.abort();
    await sessions;
    // `clones: 1` takes the only one that is left: co-1.
    for (const tenant of ['co-1', 'co-2']) {
      const { how, outcome, migrations, error } = of(found, tenant);
      assert.deepEqual([how, outcome], ['clone', 'passes'], error?.message);
      assert.deepEqual(
        migrations.map(({ name }) => name),
        ['0004_m', '0005_m', '0006_m', '0007_m'],
      );
      assert.ok(migrations.every(({ durationMs }) => durationMs !== null));
    }
    assert.deepEqual([of(found, 'co-4').outcome, of(found, 'co-4').how], ['busy', 'clone']);
    assert.match(of(found, 'co-4').reason ?? '', /1 session is connected \(test\)/);
    assert.deepEqual(await copies(), []);
    assert.deepEqual(await traces(), before);
    assert.deepEqual(found.estimate?.unmeasured, []);
  });

  it('names what it cannot do', async () => {
    const rollout = await plan('index');
    const path = `/api/v1/rollouts/${rollout}/rehearsals`;
    const answer = async (body: object) => {
      const { status, body: problem } = await fleet.admin.call<{ code: string }>('POST', path, body);
      return [status, problem.code];
    };
    assert.deepEqual(await answer({ tenants: ['nobody'] }), [404, 'tenant_not_found']);
    const nowhere = `/api/v1/rollouts/${crypto.randomUUID()}/rehearsals`;
    assert.equal((await fleet.admin.call('GET', nowhere)).status, 404);
    assert.equal((await fleet.admin.call('GET', `${path}/${crypto.randomUUID()}`)).status, 404);
    assert.deepEqual(await fleet.admin.ok('GET', path), { items: [], nextCursor: null });
  });

  it('drops copies that were left behind, and no other', async () => {
    const { servers } = fleet.controlPlane.deps;
    const { items } = await fleet.admin.ok<{ items: { id: string; name: string }[] }>(
      'GET',
      '/api/v1/servers',
    );
    const serverId = items.find(({ name }) => name === 'eu-1')?.id ?? '';
    const name = `fleet_rehearsal_${'0'.repeat(24)}`;
    await servers.admin(serverId, (admin) => admin.query(`CREATE DATABASE ${name} TEMPLATE template0`));
    await servers.admin(serverId, async (holder) => {
      await holder.query('SELECT pg_advisory_lock(hashtextextended($1, 0))', [name]);
      assert.deepEqual(await dropLeftClones(servers, serverId), [], 'somebody is at work with it');
      await holder.query('SELECT pg_advisory_unlock(hashtextextended($1, 0))', [name]);
    });
    assert.deepEqual(await dropLeftClones(servers, serverId), [name]);
    assert.deepEqual(await copies(), []);
  });
});
