import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { rolesWith } from '../../../control-plane/access/role.ts';
import { approveRollout } from '../../../control-plane/rollouts/verbs/approve.ts';
import { rolloutRoutes } from '../../../control-plane/rollouts/http.ts';
import { promoteRollout } from '../../../control-plane/rollouts/verbs/promote.ts';
import { startRollout, planRollout } from '../../../control-plane/rollouts/verbs/start.ts';
import { abortRollout } from '../../../control-plane/rollouts/verbs/abort.ts';
import { pauseRollout, resumeRollout } from '../../../control-plane/rollouts/verbs/pause.ts';
import { retryRollout } from '../../../control-plane/rollouts/verbs/retry.ts';
import { skipTarget } from '../../../control-plane/rollouts/verbs/skip.ts';
import { RolloutSpec } from '../../../contract/rollout.ts';
import { until } from '../../support/until.ts';
import { ASKER, makeRolloutFleet, type RolloutFleet } from './rollout-fleet.ts';

/** Somebody else than the one who plans. */
const OTHER = { ...ASKER, caller: { ...ASKER.caller, principalId: randomUUID(), name: 'other' } };

describe('staged rollout', () => {
  let fleet: RolloutFleet;

  beforeEach(async () => {
    fleet = await makeRolloutFleet(['aaa', 'bbb', 'ccc', 'us-aaa', 'us-bbb']);
  });
  afterEach(() => fleet.drop());

  const say = <T>(
    verb: (
      tx: Parameters<Parameters<typeof fleet.registry.transaction>[0]>[0],
      id: string,
      asker: T,
    ) => Promise<void>,
    id: string,
    asker: T,
  ) => fleet.registry.transaction((tx) => verb(tx, id, asker));
  const waveStates = async (id: string) =>
    Object.fromEntries((await fleet.read(id)).waves.map((wave) => [wave.name, wave.state]));
  const audited = async (id: string): Promise<string[]> => {
    const { rows } = await fleet.registry.query<{ action: string }>(
      'SELECT action FROM audit_log WHERE resource = $1 ORDER BY seq',
      [`rollout:${id}`],
    );
    return rows.map((row) => row.action);
  };

  it('runs waves side by side that do not wait for each other, within each one’s own `parallel`', async () => {
    const gates = [await fleet.close('bbb'), await fleet.close('us-aaa')];
    const id = await fleet.start([
      { name: 'canary', match: { tenants: ['aaa'] } },
      { name: 'eu', match: { region: 'eu' }, parallel: 1, dependsOn: ['canary'] },
      { name: 'us', match: { region: 'us' }, parallel: 1, dependsOn: ['canary'] },
      { name: 'last', match: { labels: { none: 'x' } }, mayBeEmpty: true, dependsOn: ['eu', 'us'] },
    ]);
    const driving = fleet.drive(id);
    await until('both regions are in flight', async () => {
      const states = await fleet.states(id);
      return states.bbb === 'running' && states['us-aaa'] === 'running';
    });
    const both = await fleet.read(id);
    assert.deepEqual(await waveStates(id), {
      canary: 'passed',
      eu: 'running',
      us: 'running',
      last: 'pending',
    });
    assert.deepEqual([both.counts.running, both.counts.pending], [2, 2]);
    await gates[1]?.open();
    await until('us is through while eu runs', async () => (await waveStates(id)).us === 'passed');
    assert.deepEqual([(await waveStates(id)).eu, (await waveStates(id)).last], ['running', 'pending']);
    await gates[0]?.open();
    await driving;
    assert.equal((await fleet.read(id)).state, 'succeeded');
  });

  it('waits for another person before the plan runs, and again behind a wave', async () => {
    const id = await fleet.start([{ name: 'canary', count: 1, approve: true }, { name: 'rest' }], {
      approve: true,
    });
    assert.equal((await fleet.read(id)).state, 'awaiting_approval');
    await fleet.drive(id);
    assert.equal(fleet.visits, 0);
    await assert.rejects(say(approveRollout, id, ASKER), { code: 'self_approval', status: 403 });
    await say(approveRollout, id, OTHER);
    await fleet.drive(id);
    const between = await fleet.read(id);
    assert.deepEqual([between.state, between.approvedBy], ['awaiting_approval', 'other']);
    assert.deepEqual([between.counts.verified, between.counts.pending], [1, 4]);
    assert.equal((await fleet.registry.query(fleet.driver.openIdsSql)).rowCount, 0);
    await assert.rejects(say(approveRollout, id, ASKER), { code: 'self_approval' });
    await assert.rejects(say(promoteRollout, id, { ...ASKER, full: true }), { code: 'self_approval' });
    const reader = { ...OTHER, caller: { ...OTHER.caller, role: 'viewer' as const } };
    await assert.rejects(say(promoteRollout, id, { ...reader, full: true }), {
      code: 'forbidden',
      status: 403,
    });
    await say(approveRollout, id, OTHER);
    await say(approveRollout, id, OTHER);
    await fleet.drive(id);
    const done = await fleet.read(id);
    assert.deepEqual([done.state, done.waves[0]?.approvedBy], ['succeeded', 'other']);
    await assert.rejects(say(approveRollout, id, OTHER), { code: 'nothing_to_approve' });
    assert.deepEqual(await audited(id), [
      ...['rollout.plan', 'rollout.start', 'rollout.approve', 'rollout.submit', 'rollout.approve'],
      'rollout.succeed',
    ]);
  });

  it('is approved by a permission of its own', () => {
    const { routes } = rolloutRoutes({} as Parameters<typeof rolloutRoutes>[0]);
    const permissions = new Map(routes.map((each) => [each.id, each.permission]));
    assert.equal(permissions.get('approveRollout'), 'rollout:approve');
    assert.equal(permissions.get('promoteRollout'), 'rollout:write');
    assert.deepEqual(rolesWith('rollout:approve'), ['operator', 'admin']);
  });

  it('defers targets outside their window to a stored instant, and runs them when it has come', async () => {
    const to = new Date(Date.now() + 3_600_000).toISOString();
    const id = await fleet.start([{ name: 'all' }], {
      calendar: [{ match: { region: 'us' }, freeze: { from: '2026-01-01T00:00:00Z', to } }],
    });
    const planned = (await fleet.read(id)).targets.find((target) => target.tenant === 'us-aaa');
    assert.deepEqual([planned?.state, planned?.reason, planned?.notBefore], ['deferred', 'frozen', to]);
    await fleet.drive(id);
    const waiting = await fleet.read(id);
    assert.deepEqual([waiting.state, waiting.waves[0]?.state], ['running', 'running']);
    assert.deepEqual([waiting.counts.verified, waiting.counts.deferred], [3, 2]);
    const { rows } = await fleet.registry.query<{ wake: Date; job: Date }>(
      `SELECT r.wake_at AS wake, j.run_at AS job FROM rollouts r JOIN graphile_worker.jobs j ON j.key = 'rollout:' || r.id`,
    );
    assert.deepEqual([rows[0]?.wake.toISOString(), rows[0]?.job.toISOString()], [to, to]);
    assert.equal((await fleet.registry.query(fleet.driver.openIdsSql)).rowCount, 0);
    // The freeze is over.
    await fleet.registry.query(`UPDATE rollouts SET spec = spec - 'calendar'`);
    await fleet.registry.query('UPDATE rollout_targets SET not_before = now() WHERE not_before IS NOT NULL');
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
  });

  it('halts over the budget of all waves together, and over failures in a row', async () => {
    await fleet.spoil('aaa');
    await fleet.spoil('bbb');
    const waves = [
      { name: 'one', match: { tenants: ['aaa'] }, budget: { failures: 5 } },
      { name: 'two', parallel: 1, budget: { failures: 5 } },
    ];
    const id = await fleet.start(waves, { budget: { failures: 1 } });
    await fleet.drive(id);
    const halted = await fleet.read(id);
    assert.equal(halted.cause?.message, 'over all waves: 2 targets failed, its budget bears 1');
    assert.deepEqual([halted.counts.failed, halted.counts.pending], [2, 3]);
    await say(abortRollout, id, ASKER);

    const row = { failures: 4, consecutive: 2 };
    const again = await fleet.start([{ name: 'all', parallel: 1, budget: row }]);
    await fleet.drive(again);
    assert.match((await fleet.read(again)).cause?.message ?? '', /^wave all: 2 targets failed in a row/);
    // A person bears the two, and the wave goes on to its end.
    await say(promoteRollout, again, { ...ASKER, reason: 'known' });
    await fleet.drive(again);
    const behind = await fleet.read(again);
    assert.deepEqual([behind.state, behind.cause?.code], ['halted', 'targets_behind']);
    assert.equal(behind.counts.verified, 3);
    await assert.rejects(say(promoteRollout, again, ASKER), { code: 'targets_behind' });
  });

  it('leaves a tenant behind by a person’s word: shown, passed by later, run again when it is named', async () => {
    await fleet.spoil('aaa');
    const id = await fleet.start([{ name: 'all', budget: { failures: 1 } }]);
    await fleet.drive(id);
    const skip = { ...ASKER, target: 'aaa', reason: 'broken data' };
    await say(skipTarget, id, skip);
    await say(skipTarget, id, skip);
    await assert.rejects(say(skipTarget, id, { ...skip, target: 'bbb' }), { code: 'target_not_waiting' });
    await say(retryRollout, id, ASKER);
    await fleet.drive(id);
    const done = await fleet.read(id);
    assert.equal(done.state, 'succeeded');
    assert.deepEqual(
      done.targets
        .filter((target) => target.state === 'skipped')
        .map((target) => [target.tenant, target.reason]),
      [['aaa', 'broken data']],
    );
    const later = await fleet.start();
    const passed = await fleet.read(later);
    assert.deepEqual([passed.state, passed.targets[0]?.state], ['succeeded', 'skipped']);
    await fleet.mend('aaa');
    const repaired = await fleet.start([{ name: 'repaired', match: { tenants: ['aaa'] } }]);
    await fleet.drive(repaired);
    assert.deepEqual(await fleet.states(repaired), { aaa: 'verified' });
    assert.equal((await fleet.read(await fleet.start())).total, 0);
  });

  it('promotes past a bake, and only that; in full past all that is left', async () => {
    const bakes = ['one', 'two', 'three'].map((name) => ({ name, count: 1, bake: '1h' }));
    const id = await fleet.start(bakes);
    await fleet.drive(id);
    assert.deepEqual(await waveStates(id), {
      one: 'baking',
      two: 'pending',
      three: 'pending',
      rest: 'pending',
    });
    await say(pauseRollout, id, ASKER);
    await say(promoteRollout, id, ASKER);
    await fleet.drive(id);
    assert.equal((await waveStates(id)).one, 'baking', 'only the pause was left');
    await say(promoteRollout, id, ASKER);
    await fleet.drive(id);
    assert.deepEqual([(await waveStates(id)).one, (await waveStates(id)).two], ['passed', 'baking']);
    await say(promoteRollout, id, { ...ASKER, full: true });
    await fleet.drive(id);
    const done = await fleet.read(id);
    assert.equal(done.state, 'succeeded');
    assert.deepEqual(
      done.waves.map((wave) => wave.waivedBy),
      [null, 'system', 'system', 'system'],
    );
  });

  it('queues a second rollout, and starts it when the first is over', async () => {
    const first = await fleet.start([{ name: 'one', count: 1, bake: '1h' }]);
    const second = await fleet.registry.transaction((tx) =>
      planRollout(tx, RolloutSpec.parse({ release: 'r1' }), ASKER),
    );
    await assert.rejects(say(startRollout, second, ASKER), { code: 'rollout_active' });
    await say(startRollout, second, { ...ASKER, queue: true });
    await say(startRollout, second, { ...ASKER, queue: true });
    await fleet.drive(first);
    await fleet.drive(second);
    assert.equal((await fleet.read(second)).state, 'planned');
    assert.notEqual((await fleet.read(second)).queuedAt, null);
    await say(promoteRollout, first, { ...ASKER, full: true });
    await fleet.drive(first);
    assert.equal((await fleet.read(first)).state, 'succeeded');
    const open = await fleet.registry.query<{ id: string }>(fleet.driver.openIdsSql);
    assert.deepEqual(open.rows, [{ id: second }]);
    await fleet.drive(second);
    assert.equal((await fleet.read(second)).state, 'succeeded');
  });

  it('takes a queued plan out of the queue when the fleet is not whole, and says why', async () => {
    const first = await fleet.start([{ name: 'one', count: 1, bake: '1h' }]);
    const second = await fleet.registry.transaction(async (tx) => {
      const id = await planRollout(tx, RolloutSpec.parse({ release: 'r1' }), ASKER);
      await startRollout(tx, id, { ...ASKER, queue: true });
      return id;
    });
    await fleet.drive(first);
    await say(abortRollout, first, ASKER);
    await fleet.drive(second);
    const refused = await fleet.read(second);
    assert.deepEqual(
      [refused.state, refused.queuedAt, refused.cause?.code],
      ['planned', null, 'rollout_abandoned'],
    );
    await say(startRollout, second, { ...ASKER, supersede: first });
    await fleet.drive(second);
    assert.equal((await fleet.read(second)).state, 'succeeded');
    assert.equal((await fleet.read(first)).supersededBy, second);
  });

  it('keeps a queued plan in its place while what stands against it may pass, and names no server', async () => {
    const first = await fleet.start([{ name: 'one', count: 1, bake: '1h' }]);
    const second = await fleet.registry.transaction((tx) =>
      planRollout(tx, RolloutSpec.parse({ release: 'r1' }), ASKER),
    );
    await say(startRollout, second, { ...ASKER, queue: true });
    await say(promoteRollout, first, { ...ASKER, full: true });
    await fleet.drive(first);
    await fleet.registry.query(`UPDATE servers SET reachable = false WHERE region = 'us'`);
    await fleet.drive(second);
    const refused = await fleet.read(second);
    assert.deepEqual([refused.state, refused.cause?.code], ['planned', 'servers_unreachable']);
    assert.notEqual(refused.queuedAt, null);
    assert.doesNotMatch(refused.cause?.message ?? '', /us-1/);
    assert.deepEqual((await fleet.registry.query(fleet.driver.openIdsSql)).rows, []);
    await fleet.registry.query('UPDATE servers SET reachable = true');
    await fleet.registry.query('UPDATE rollouts SET wake_at = now() WHERE id = $1', [second]);
    assert.deepEqual((await fleet.registry.query(fleet.driver.openIdsSql)).rows, [{ id: second }]);
    await fleet.drive(second);
    assert.equal((await fleet.read(second)).state, 'succeeded');
  });

  it('takes no place of a rollout that goes to regions which the asker may not change', async () => {
    const first = await fleet.start([{ name: 'us', match: { region: 'us' }, bake: '1h' }]);
    await say(pauseRollout, first, ASKER);
    const second = await fleet.registry.transaction((tx) =>
      planRollout(tx, RolloutSpec.parse({ release: 'r1' }), ASKER),
    );
    await fleet.registry.query(
      `DELETE FROM rollout_targets t USING tenants n WHERE n.id = t.tenant_id AND t.rollout_id = $1 AND n.region = 'us'`,
      [second],
    );
    const ofEu = { ...ASKER, caller: { ...ASKER.caller, regions: ['eu'] } };
    await assert.rejects(say(startRollout, second, { ...ofEu, supersede: first }), {
      code: 'region_forbidden',
    });
    assert.equal((await fleet.read(first)).state, 'paused');
  });

  it('bears no failures by a promotion that passes something else', async () => {
    await fleet.spoil('aaa');
    const id = await fleet.start([{ name: 'all', budget: { failures: 1 } }]);
    await fleet.drive(id);
    await fleet.registry.query(
      `UPDATE rollouts SET cause = cause || '{"code":"gate_failed"}' WHERE id = $1`,
      [id],
    );
    await say(promoteRollout, id, ASKER);
    const { rows } = await fleet.registry.query('SELECT forgiven_at FROM rollouts WHERE id = $1', [id]);
    assert.deepEqual(rows, [{ forgiven_at: null }]);
  });

  it('refuses to start while servers do not answer or an outcome is unknown', async () => {
    await fleet.registry.query(`UPDATE servers SET reachable = false WHERE region = 'us'`);
    await assert.rejects(fleet.start(), { code: 'servers_unreachable', status: 409 });
    await fleet.registry.query('UPDATE servers SET reachable = true');
    const id = await fleet.start();
    await say(abortRollout, id, ASKER);
    await fleet.registry.query(
      `UPDATE rollout_targets SET state = 'unknown' WHERE rollout_id = $1 AND ordinal = 1`,
      [id],
    );
    await assert.rejects(fleet.start(), { code: 'targets_unsettled' });
    await fleet.drive(id);
    await fleet.drive(await fleet.start());
  });

  it('cancels by force what runs, which rolls back, and says so of the target', async () => {
    const gate = await fleet.close('aaa');
    const id = await fleet.start([{ name: 'all', parallel: 1 }]);
    const driving = fleet.drive(id);
    await until('aaa waits at the gate', () =>
      fleet.onDatabase('aaa', async (client) => {
        const { rowCount } = await client.query(
          `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'`,
        );
        return rowCount === 1;
      }),
    );
    await say(abortRollout, id, { ...ASKER, force: true });
    await driving;
    await gate.open();
    const { targets } = await fleet.read(id);
    assert.deepEqual([targets[0]?.state, targets[0]?.reason], ['skipped', 'aborted']);
    assert.deepEqual(await waveStates(id), { all: 'failed' }, 'no wave runs in a rollout that is over');
    assert.deepEqual(await audited(id), ['rollout.plan', 'rollout.start', 'rollout.abort', 'rollout.force']);
  });

  it('goes on from a paused bake where it stood', async () => {
    const id = await fleet.start([{ name: 'one', count: 1, bake: '1h' }, { name: 'rest' }]);
    await fleet.drive(id);
    await say(pauseRollout, id, ASKER);
    assert.equal((await fleet.registry.query(fleet.driver.openIdsSql)).rowCount, 1);
    await fleet.drive(id);
    assert.equal((await fleet.registry.query(fleet.driver.openIdsSql)).rowCount, 0, 'paused: it sleeps');
    await say(resumeRollout, id, ASKER);
    await fleet.drive(id);
    assert.equal((await waveStates(id)).one, 'baking');
  });
});
