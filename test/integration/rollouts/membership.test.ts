import assert from 'node:assert/strict';
import { RolloutSpec } from '../../../contract/rollout.ts';
import {
  currentRelease,
  insertMigrations,
  insertRelease,
  setCurrentRelease,
} from '../../../control-plane/releases/store.ts';
import { expirePlans } from '../../../control-plane/rollouts/engine/expire.ts';
import { planRollout, startRollout } from '../../../control-plane/rollouts/verbs/start.ts';
import type { FleetError } from '../../../platform/errors.ts';
import { pauseRollout, resumeRollout } from '../../../control-plane/rollouts/verbs/pause.ts';
import { retryRollout } from '../../../control-plane/rollouts/verbs/retry.ts';
import { until } from '../../support/until.ts';
import { ASKER, makeRolloutFleet, type RolloutFleet } from './rollout-fleet.ts';

describe('rollout over a changing fleet', () => {
  let fleet: RolloutFleet;

  beforeEach(async () => {
    fleet = await makeRolloutFleet(['aaa', 'bbb', 'ccc', 'us-aaa', 'us-bbb']);
  });
  afterEach(() => fleet.drop());

  it('visits no database of a fleet that is up to date', async () => {
    await fleet.registry.query(`UPDATE databases SET schema_version = '002_gate'`);
    const id = await fleet.start([{ name: 'canary', count: 1 }, { name: 'rest' }]);
    const rollout = await fleet.read(id);
    assert.equal(rollout.state, 'succeeded');
    assert.equal(rollout.total, 0);
    assert.deepEqual(
      rollout.waves.map((wave) => wave.state),
      ['passed', 'passed'],
    );
    assert.equal((await currentRelease(fleet.registry))?.name, 'r1');
    await fleet.drive(id);
    assert.equal(fleet.visits, 0);
  });

  it('refuses a second rollout while one is not over, and says which', async () => {
    const id = await fleet.start();
    await assert.rejects(fleet.start(), (error: { code: string; message: string }) => {
      assert.equal(error.code, 'rollout_active');
      assert.match(error.message, new RegExp(id));
      return true;
    });
    const planned = await fleet.registry.query(`SELECT count(*)::int AS n FROM rollouts`);
    assert.deepEqual(planned.rows, [{ n: 1 }]);
  });

  it('takes in tenants that come meanwhile, defers the suspended, skips the deleted', async () => {
    const gate = await fleet.close('aaa');
    const id = await fleet.start([{ name: 'canary', count: 1 }, { name: 'others' }]);
    const driving = fleet.drive(id);
    await until('the canary runs', async () => (await fleet.states(id)).aaa === 'running');
    await fleet.addTenant('newcomer');
    await fleet.setTenantState('bbb', 'suspended');
    await fleet.setTenantState('ccc', 'offboarding');
    await gate.open();
    await driving;
    const rollout = await fleet.read(id);
    assert.equal(rollout.state, 'succeeded');
    assert.deepEqual(
      rollout.targets.map((target) => [target.tenant, target.wave, target.state, target.reason]),
      [
        ['aaa', 'canary', 'verified', null],
        ['bbb', 'others', 'deferred', 'suspended'],
        ['ccc', 'others', 'skipped', 'deleted'],
        ['us-aaa', 'others', 'verified', null],
        ['us-bbb', 'others', 'verified', null],
        ['newcomer', 'others', 'verified', null],
      ],
    );
  });

  it('runs a deferred tenant that has come back before the end', async () => {
    await fleet.setTenantState('ccc', 'suspended');
    const gate = await fleet.close('us-bbb');
    const id = await fleet.start();
    assert.equal((await fleet.states(id)).ccc, 'deferred');
    const driving = fleet.drive(id);
    await until('the last one runs', async () => (await fleet.states(id))['us-bbb'] === 'running');
    await fleet.setTenantState('ccc', 'active');
    await gate.open();
    await driving;
    assert.equal((await fleet.read(id)).state, 'succeeded');
    assert.equal((await fleet.states(id)).ccc, 'verified');
  });

  it('counts an unreachable server apart: one event, its targets wait, then one stop; no budget spent', async () => {
    fleet.down.add('us');
    const id = await fleet.start([{ name: 'all', perServer: 1 }]);
    await fleet.drive(id);
    const halted = await fleet.read(id);
    assert.equal(halted.state, 'halted');
    assert.equal(halted.cause?.code, 'servers_unreachable');
    assert.match(halted.cause.message, /us-aaa on server us-1/);
    assert.deepEqual(await fleet.states(id), {
      ...{
        aaa: 'verified',
        bbb: 'verified',
        ccc: 'verified',
        'us-aaa': 'unreachable',
        'us-bbb': 'unreachable',
      },
    });
    assert.equal(halted.counts.failed, 0);
    const lost = await fleet.registry.query(
      `SELECT 1 FROM audit_log WHERE resource = $1 AND action = 'rollout.server_lost'`,
      [`rollout:${id}`],
    );
    assert.equal(lost.rowCount, 1);
    fleet.down.clear();
    await fleet.registry.transaction((tx) => retryRollout(tx, id, ASKER));
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
  });

  it('bakes until a stored instant, and keeps it over pause and resume', async () => {
    const id = await fleet.start([{ name: 'canary', count: 1, bake: '1h' }, { name: 'others' }]);
    await fleet.drive(id);
    const baking = await fleet.read(id);
    assert.equal(baking.waves[0]?.state, 'baking');
    const bakeUntil = baking.waves[0].bakeUntil;
    assert.ok(bakeUntil !== null && Date.parse(bakeUntil) > Date.now() + 3_500_000);
    const jobs = await fleet.registry.query<{ run_at: Date }>(
      'SELECT run_at FROM graphile_worker.jobs WHERE key = $1',
      [`rollout:${id}`],
    );
    assert.equal(jobs.rows[0]?.run_at.toISOString(), bakeUntil);
    assert.equal(
      (await fleet.registry.query(fleet.driver.openIdsSql)).rowCount,
      0,
      'no sweeper wakes it early',
    );
    await fleet.registry.transaction((tx) => pauseRollout(tx, id, ASKER));
    await fleet.registry.transaction((tx) => resumeRollout(tx, id, ASKER));
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).waves[0]?.bakeUntil, bakeUntil);
    await fleet.registry.query(
      'UPDATE rollout_waves SET bake_until = now() WHERE rollout_id = $1 AND ordinal = 0',
      [id],
    );
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
  });

  it('refuses unknown releases and tenants, and targets in other regions than the key’s', async () => {
    const plan = (spec: object, regions: string[] = []) =>
      fleet.registry.transaction((tx) =>
        planRollout(tx, RolloutSpec.parse({ release: 'r1', ...spec }), {
          ...ASKER,
          caller: { ...ASKER.caller, regions },
        }),
      );
    await assert.rejects(plan({ release: 'nope' }), { code: 'release_not_found', status: 404 });
    const typo = {
      name: 'canary',
      match: { tenants: ['aaa', 'tpyo'] },
      parallel: 1,
      perServer: 1,
      budget: { failures: 0 },
    };
    await assert.rejects(plan({ waves: [typo] }), { code: 'tenant_not_found', status: 404 });
    const one = (match: object, more = {}) => plan({ waves: [{ name: 'canary', match, ...more }] });
    await assert.rejects(one({ region: ['eu', 'mars'] }), ({ code, errors }: FleetError) => {
      assert.deepEqual(
        [code, errors?.map(({ path }) => path)],
        ['region_not_found', ['waves.0.match.region']],
      );
      return true;
    });
    await assert.rejects(one({ server: 'nosuch' }), { code: 'server_not_found', status: 404 });
    const cannary = { labels: { cannary: 'true' } };
    await assert.rejects(one(cannary), { code: 'wave_matches_nobody', status: 409 });
    await assert.rejects(plan({}, ['eu']), { code: 'region_forbidden', status: 403 });
    assert.equal((await fleet.registry.query('SELECT 1 FROM rollouts')).rowCount, 0);
    await one(cannary, { mayBeEmpty: true });
    await fleet.registry.query(`UPDATE databases SET schema_version = '002_gate'`);
    await one({ tenants: ['aaa'] });
  });

  it('expires plans that can never start or are a month old, and no others', async () => {
    const plan = () =>
      fleet.registry.transaction((tx) => planRollout(tx, RolloutSpec.parse({ release: 'r1' }), ASKER));
    const [fresh, old] = [await plan(), await plan()];
    await fleet.registry.query(`UPDATE rollouts SET created_at = now() - interval '31 days' WHERE id = $1`, [
      old,
    ]);
    const standing = async (id: string) => {
      const { state, cause } = await fleet.read(id);
      return [state, cause?.code, cause?.actor];
    };
    await expirePlans(fleet.registry);
    assert.deepEqual(await standing(fresh), ['planned', undefined, undefined]);
    assert.deepEqual(await standing(old), ['aborted', 'plan_expired', 'engine']);
    await fleet.registry.transaction(async (tx) => {
      const release = { head: '003_next', headOrdinal: 3, checksum: 'c', publishedBy: 'test' };
      const step = { name: '003_next', ordinal: 3, checksum: 'c', upSql: 'SELECT 1', downSql: null };
      const limits = { lockTimeoutMs: 1, statementTimeoutMs: 1, statements: null };
      await insertMigrations(tx, [{ ...step, ...limits, phase: 'expand', transactional: true }]);
      await insertRelease(tx, { name: 'r2', ...release });
      await setCurrentRelease(tx, 'r2');
    });
    await expirePlans(fleet.registry);
    assert.deepEqual(await standing(fresh), ['aborted', 'release_superseded', 'engine']);
    const told = await fleet.registry.query(`SELECT 1 FROM audit_log WHERE action = 'rollout.abort'`);
    assert.equal(told.rowCount, 2);
  });

  it('keeps a plan until it is started, and starts it once', async () => {
    const id = await fleet.registry.transaction((tx) =>
      planRollout(tx, RolloutSpec.parse({ release: 'r1' }), ASKER),
    );
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'planned');
    assert.equal(fleet.visits, 0);
    await fleet.registry.transaction((tx) => startRollout(tx, id, ASKER));
    await fleet.registry.transaction((tx) => startRollout(tx, id, ASKER));
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
    await assert.rejects(
      fleet.registry.transaction((tx) => startRollout(tx, id, ASKER)),
      { code: 'wrong_state' },
    );
  });
});
