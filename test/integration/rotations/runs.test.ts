import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { StartRotation, type Rotation } from '../../../contract/rotation.ts';
import type { Tenant } from '../../../contract/tenant.ts';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import { createOperationDriver } from '../../../control-plane/operations/engine.ts';
import { cancelOperation } from '../../../control-plane/operations/operation.ts';
import { rotateDue } from '../../../control-plane/rotations/policy/rotate-due.ts';
import { cancelRun } from '../../../control-plane/rotations/runs/cancel.ts';
import { createRotationDriver } from '../../../control-plane/rotations/runs/driver.ts';
import { findRun } from '../../../control-plane/rotations/runs/run-store.ts';
import { planRun, startRun } from '../../../control-plane/rotations/runs/start.ts';
import { listTargets } from '../../../control-plane/rotations/runs/target-store.ts';
import { runViews } from '../../../control-plane/rotations/runs/view.ts';
import { startSuspendTenant } from '../../../control-plane/tenants/suspend.ts';
import { driveOnce, takeLease } from '../../support/drive.ts';
import { quietLogger } from '../../support/registry.ts';
import { until } from '../../support/until.ts';
import { startWorld, type World } from '../tenants/world.ts';
import { retireAll } from './retire-all.ts';

/** Short enough that a test waits for what happens and not for the clock. */
const TIMES = { stepMs: 10, againMs: 20, patienceMs: 150 };
const DAY_MS = 86_400_000;

describe('a rotation run', () => {
  let world: World;
  let tenants: Tenant[];
  let working: AbortController;
  let worker: Promise<void>;

  before(async () => {
    world = await startWorld();
    await world.publish(1);
    tenants = [];
    for (const name of ['one', 'two', 'three', 'four']) tenants.push(await world.create(`run-${name}`));
    tenants.push(await world.create('run-over-there', { region: 'us', labels: { canary: 'true' } }));
  });
  after(() => world.stop());
  beforeEach(() => {
    working = new AbortController();
    worker = work(working.signal);
  });
  afterEach(async () => {
    working.abort();
    await worker;
    await world.registry.query(
      "UPDATE rotation_runs SET state = 'cancelled', finished_at = now() WHERE finished_at IS NULL",
    );
    await world.registry.query('UPDATE secret_versions SET look_at = NULL');
    await retireAll(world.deps);
  });

  /** A worker that does operations and nothing else. */
  async function work(signal: AbortSignal): Promise<void> {
    const driver = createOperationDriver({ ...world, logger: quietLogger });
    while (!signal.aborted) {
      const { rows } = await world.registry.query<{ id: string }>(driver.openIdsSql);
      for (const { id } of rows) await driveOnce(world.registry, driver, id);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
  const start = (wanted: object = {}) =>
    world.request((request) => startRun(request.tx, StartRotation.parse({ match: {}, ...wanted }), request));
  const drive = (id: string) => driveOnce(world.registry, createRotationDriver(world.deps, TIMES), id);
  const see = async (id: string): Promise<Rotation> => {
    const run = await findRun(world.registry, id);
    assert.ok(run !== undefined);
    const [view] = await runViews(world.registry, [run]);
    assert.ok(view !== undefined);
    return view;
  };
  const rotated = async (wanted: object): Promise<Rotation> => {
    const { id } = await start(wanted);
    await drive(id);
    return see(id);
  };
  /** How often each tenant's credential was rotated since it was made. */
  const turns = async (): Promise<Record<string, number>> => {
    const { rows } = await world.registry.query<{ slug: string; turns: number }>(
      `SELECT t.slug, count(*)::int - 1 AS turns FROM tenants t JOIN secret_versions v ON v.owner = 'tenant:' || t.id
        GROUP BY t.slug`,
    );
    return Object.fromEntries(rows.map(({ slug, turns: count }) => [slug, count]));
  };
  const named = (...some: number[]) => ({ match: { tenants: some.map((index) => tenants[index]?.slug) } });

  it('rotates those that match, each once, and leaves the others alone', async () => {
    const before = await turns();
    const run = await rotated({ match: { region: 'eu' }, parallel: 3, reason: 'a test' });
    assert.equal(run.state, 'succeeded');
    assert.deepEqual([run.total, run.counts.rotated, run.reason], [4, 4, 'a test']);
    const after = await turns();
    for (const { slug, region } of tenants) {
      assert.equal((after[slug] ?? 0) - (before[slug] ?? 0), region === 'eu' ? 1 : 0, slug);
    }
    const labelled = await rotated({ match: { labels: { canary: 'true' } } });
    assert.deepEqual(
      (await listTargets(world.registry, labelled.id, { states: null, limit: 9 })).map(
        ({ tenant, state }) => [tenant, state],
      ),
      [['run-over-there', 'rotated']],
    );
  });

  it('says whom it would take, and takes nobody where nobody matches', async () => {
    const plan = await world.request((request) =>
      planRun(request.tx, StartRotation.parse({ match: { server: 'us-1' } }), request),
    );
    assert.deepEqual(plan, {
      total: 1,
      targets: [{ tenant: 'run-over-there', region: 'us', server: 'us-1', deferred: null }],
    });
    await assert.rejects(start({ match: { tier: 'premium' } }), { code: 'no_tenant_matches', status: 422 });
  });

  it('is one at a time: the same wish joins it, another is refused, and a key of one region sees its own', async () => {
    const { id } = await start(named(0));
    assert.deepEqual(await start(named(0)), { id, joined: true });
    await assert.rejects(start(named(1)), { code: 'rotation_under_way', status: 409 });
    await drive(id);
    assert.equal((await see(id)).state, 'succeeded');
    const bound = { ...SYSTEM_CALLER, regions: ['us'] };
    const other = await world.registry.transaction((tx) =>
      startRun(tx, StartRotation.parse({ match: {} }), { caller: bound, requestId: null }),
    );
    await drive(other.id);
    assert.equal((await see(other.id)).total, 1);
  });

  it('makes way for one that is urgent, and tells nobody to cancel what they cannot see', async () => {
    const { id } = await start(named(1));
    const bound = { caller: { ...SYSTEM_CALLER, regions: ['us'] }, requestId: null };
    const there = (now: boolean) =>
      world.registry.transaction((tx) => startRun(tx, StartRotation.parse({ match: {}, now }), bound));
    const unseen = { code: 'rotation_under_way', fix: /^try again later/ };
    await assert.rejects(there(false), unseen);
    const urgent = await there(true);
    await assert.rejects(start({ ...named(1), now: true }), {
      code: 'rotation_under_way',
      fix: new RegExp(urgent.id),
    });
    await drive(id);
    assert.deepEqual([(await see(id)).state, (await see(id)).error?.code], ['cancelled', 'made_way']);
    await drive(urgent.id);
    assert.equal((await see(urgent.id)).counts.rotated, 1);
    const { rows } = await world.registry.query(
      "SELECT FROM audit_log WHERE action = 'rotation.make-way' AND resource = 'rotation:' || $1",
      [id],
    );
    assert.equal(rows.length, 1);
  });

  it('defers who is suspended, being migrated or not taken over yet, and names them with the reason', async () => {
    const [suspended, migrating, waiting] = tenants;
    assert.ok(suspended !== undefined && migrating !== undefined && waiting !== undefined);
    await rotated(named(2));
    const suspension = await world.request((request) =>
      startSuspendTenant(request.tx, suspended.id, request),
    );
    await until('it is suspended', async () => (await stateOf(suspension)) === 'succeeded');
    const rollout = await pretendMigration(migrating.id);
    const before = await turns();
    const run = await rotated({ match: { region: 'eu' } });
    assert.equal(run.state, 'succeeded');
    assert.deepEqual([run.counts.rotated, run.counts.deferred], [1, 3]);
    assert.deepEqual(
      run.attention.map(({ tenant, reason }) => [tenant, reason?.replace(rollout, 'R')]),
      [
        ['run-one', 'it is suspended: rotate it when it is resumed'],
        [
          'run-three',
          'the credential of run-three that was rotated out last may still be in use: sessions that were opened with it are still there',
        ],
        ['run-two', 'rollout R is migrating it'],
      ],
    );
    await world.registry.query(
      'DELETE FROM rollout_targets; DELETE FROM rollout_waves; DELETE FROM rollouts',
    );
    assert.equal((await turns())['run-two'], before['run-two']);
  });

  it('takes a deferred tenant up again as soon as that is possible', async () => {
    const [, migrating] = tenants;
    await pretendMigration(migrating?.id ?? '');
    const { id } = await start(named(1));
    const driven = driveOnce(
      world.registry,
      createRotationDriver(world.deps, { ...TIMES, patienceMs: 20_000 }),
      id,
    );
    await until('it is deferred', async () => (await see(id)).counts.deferred === 1);
    await world.registry.query("UPDATE rollout_targets SET state = 'verified'");
    await driven;
    assert.deepEqual([(await see(id)).state, (await see(id)).counts.rotated], ['succeeded', 1]);
    await world.registry.query(
      'DELETE FROM rollout_targets; DELETE FROM rollout_waves; DELETE FROM rollouts',
    );
  });

  it('goes on where its owner was killed, and rotates nobody twice', async () => {
    const before = await turns();
    const { id } = await start({
      match: { tenants: ['run-two', 'run-three', 'run-four', 'run-over-there'] },
      parallel: 1,
    });
    const driver = createRotationDriver(world.deps, TIMES);
    for (let kills = 0; kills < 3; kills += 1) {
      const lease = await takeLease(world.registry, `rotation:${id}`);
      const lost = driver.drive(id, lease).catch(() => undefined);
      await until('another one is in work', async () => {
        const { counts } = await see(id);
        return counts.running + counts.rotated > kills;
      });
      // Killed: nothing is told to anybody, and its lease goes to the next.
      lease.abort.abort();
      await lost;
    }
    await drive(id);
    const after = await turns();
    assert.equal((await see(id)).counts.rotated, 4);
    for (const slug of ['run-two', 'run-three', 'run-four', 'run-over-there']) {
      assert.equal((after[slug] ?? 0) - (before[slug] ?? 0), 1, slug);
    }
  });

  it('fails when three in a row have failed, and leaves the others alone', async () => {
    working.abort();
    await worker;
    const { id } = await start({ match: {}, parallel: 1, now: true });
    const driven = drive(id);
    for (let failures = 1; failures <= 3; failures += 1) {
      const operation = await until('one is in work', async () => {
        const { rows } = await world.registry.query<{ id: string }>(
          "SELECT id FROM operations WHERE state = 'queued'",
        );
        return rows[0]?.id;
      });
      await world.request((request) => cancelOperation(request.tx, operation, world.operations, request));
      assert.equal(await world.drive(operation), 'cancelled');
    }
    await driven;
    const run = await see(id);
    assert.deepEqual([run.state, run.error?.code, run.counts.failed], ['failed', 'rotations_fail', 3]);
    assert.equal(run.counts.skipped + run.counts.deferred, run.total - 3);
  });

  it('is ended by a defect, and still learns how that ended what it had begun', async () => {
    const { id } = await start({ ...named(3), now: true });
    const driver = createRotationDriver(world.deps, TIMES);
    const lease = await takeLease(world.registry, `rotation:${id}`);
    let isBroken = false;
    const transaction: typeof lease.transaction = async (statements) => {
      if (!isBroken && (await see(id)).counts.pending === 0) {
        isBroken = true;
        throw new Error('a defect');
      }
      return lease.transaction(statements);
    };
    await driver.drive(id, { ...lease, transaction });
    const run = await see(id);
    assert.deepEqual([run.state, run.counts.running], ['failed', 1]);
    const isOpen = async (): Promise<boolean> => {
      const { rows } = await world.registry.query<{ id: string }>(driver.openIdsSql);
      return rows.some((one) => one.id === id);
    };
    await until('its operation is over', isOpen);
    await driver.drive(id, lease);
    assert.deepEqual([(await see(id)).state, (await see(id)).counts.rotated], ['failed', 1]);
    assert.equal(await isOpen(), false);
  });

  it('is cancelled between two tenants', async () => {
    const { id } = await start({ match: { region: 'eu' }, parallel: 1 });
    const run = await findRun(world.registry, id);
    assert.ok(run !== undefined);
    await world.request((request) => cancelRun(request.tx, run, request));
    await drive(id);
    const ended = await see(id);
    assert.deepEqual([ended.state, ended.error?.code, ended.counts.rotated], ['cancelled', 'cancelled', 0]);
    await assert.rejects(
      world.request(async (request) =>
        cancelRun(request.tx, { ...run, state: 'succeeded', finishedAt: new Date() }, request),
      ),
      { code: 'wrong_state' },
    );
  });

  it('is begun by the policy for those that are due, and makes way for what somebody asks for', async () => {
    const policy = { standard: 30 * DAY_MS };
    await rotateDue(world.deps, policy);
    assert.equal(await openScheduled(), undefined);
    const age = (days: number) =>
      world.registry.query(
        `UPDATE secret_versions SET staged_at = now() - $1 * interval '1 day'
          WHERE stage = 'current' AND owner = 'tenant:' || $2`,
        [days, tenants[3]?.id],
      );
    await age(29);
    // Not again a short time after it has failed.
    await world.registry.query(
      `INSERT INTO operations (id, kind, state, subject, subject_name, region, input, actor, actor_role, finished_at)
       VALUES (gen_random_uuid(), 'secret.rotate', 'failed', 'tenant:' || $1, 'x', 'eu', '{}', 'x', 'admin', now())`,
      [tenants[3]?.id],
    );
    await rotateDue(world.deps, policy);
    assert.equal(await openScheduled(), undefined);
    await world.registry.query(
      "UPDATE operations SET created_at = now() - interval '7 hours' WHERE state <> 'succeeded'",
    );
    await rotateDue(world.deps, policy);
    const first = await openScheduled();
    assert.ok(first !== undefined);
    // Beside another run it begins nothing.
    await rotateDue(world.deps, policy);
    await drive(first);
    const run = await see(first);
    assert.deepEqual([run.state, run.scheduled, run.total, run.counts.rotated], ['succeeded', true, 1, 1]);
    await retireAll(world.deps);
    await age(29);
    await rotateDue(world.deps, policy);
    const second = await openScheduled();
    const asked = await start(named(1));
    await drive(second ?? '');
    assert.deepEqual(
      [(await see(second ?? '')).state, (await see(second ?? '')).error?.code],
      ['cancelled', 'made_way'],
    );
    await drive(asked.id);
    assert.equal((await see(asked.id)).state, 'succeeded');
  });

  async function openScheduled(): Promise<string | undefined> {
    const { rows } = await world.registry.query<{ id: string }>(
      'SELECT id FROM rotation_runs WHERE scheduled AND finished_at IS NULL',
    );
    return rows[0]?.id;
  }

  async function stateOf(operation: string): Promise<string | undefined> {
    const { rows } = await world.registry.query<{ state: string }>(
      'SELECT state FROM operations WHERE id = $1',
      [operation],
    );
    return rows[0]?.state;
  }

  /** What the registry says while a rollout has the tenant's database in work. */
  async function pretendMigration(tenantId: string): Promise<string> {
    const id = randomUUID();
    await world.registry.query(
      `INSERT INTO rollouts (id, release, state, spec, author) SELECT $1, name, 'planned', '{}', 'test' FROM releases LIMIT 1`,
      [id],
    );
    await world.registry.query(
      `INSERT INTO rollout_waves (rollout_id, ordinal, name, state, parallel, per_server, budget)
       VALUES ($1, 0, 'all', 'running', 1, 1, '{}')`,
      [id],
    );
    await world.registry.query(
      `INSERT INTO rollout_targets (rollout_id, tenant_id, database_id, server_id, wave, ordinal, state, missing)
       SELECT $1, tenant_id, id, server_id, 0, 0, 'running', '[]' FROM databases WHERE tenant_id = $2 AND state = 'ready'`,
      [id, tenantId],
    );
    return id;
  }
});
