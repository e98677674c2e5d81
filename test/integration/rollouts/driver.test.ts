import assert from 'node:assert/strict';
import { currentRelease } from '../../../control-plane/releases/store.ts';
import { abortRollout } from '../../../control-plane/rollouts/verbs/abort.ts';
import { pauseRollout, resumeRollout } from '../../../control-plane/rollouts/verbs/pause.ts';
import { retryRollout } from '../../../control-plane/rollouts/verbs/retry.ts';
import { skipTarget } from '../../../control-plane/rollouts/verbs/skip.ts';
import { whileRunning } from '../../../control-plane/rollouts/engine/run.ts';
import { takeLease } from '../../support/drive.ts';
import { until } from '../../support/until.ts';
import { ASKER, makeRolloutFleet, type RolloutFleet } from './rollout-fleet.ts';

/** What the databases themselves say was applied, by tenant. */
async function recorded(fleet: RolloutFleet, slugs: string[]): Promise<Record<string, string[]>> {
  const entries = await Promise.all(
    slugs.map(async (slug) => {
      const names = await fleet.onDatabase(slug, async (client) => {
        const { rows } = await client.query<{ name: string }>('SELECT name FROM pgmigrations ORDER BY id');
        return rows.map((row) => row.name);
      });
      return [slug, names] as const;
    }),
  );
  return Object.fromEntries(entries);
}

function runningTarget(fleet: RolloutFleet, id: string, slug: string): Promise<boolean> {
  return until(`${slug} is in flight`, async () => (await fleet.states(id))[slug] === 'running');
}

/** Until the migration stands before the gate: its session waits for the advisory lock. */
function atGate(fleet: RolloutFleet, slug: string): Promise<boolean> {
  return until(`${slug} waits at the gate`, () =>
    fleet.onDatabase(slug, async (client) => {
      const { rowCount } = await client.query(
        `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'`,
      );
      return rowCount === 1;
    }),
  );
}

const BOTH = ['001_notes', '002_gate'];

describe('rollout driver', () => {
  let fleet: RolloutFleet;
  const slugs = ['aaa', 'bbb', 'ccc', 'ddd', 'eee'];

  beforeEach(async () => {
    fleet = await makeRolloutFleet(slugs);
  });
  afterEach(() => fleet.drop());

  it('takes the release over all waves, within `parallel`, and makes it current', async () => {
    await fleet.registry.query(`
      CREATE TABLE seen (running int);
      CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO seen SELECT count(*) FROM rollout_targets WHERE state = 'running'; RETURN NULL; END $$;
      CREATE TRIGGER look AFTER UPDATE ON rollout_targets FOR EACH STATEMENT EXECUTE FUNCTION look()`);
    const id = await fleet.start([
      { name: 'canary', count: 1 },
      { name: 'rest', parallel: 2 },
    ]);
    await fleet.drive(id);
    const rollout = await fleet.read(id);
    assert.equal(rollout.state, 'succeeded');
    assert.deepEqual(
      rollout.waves.map((wave) => [wave.name, wave.state, wave.counts.verified]),
      [
        ['canary', 'passed', 1],
        ['rest', 'passed', 4],
      ],
    );
    const { rows } = await fleet.registry.query<{ most: number }>('SELECT max(running) AS most FROM seen');
    assert.equal(rows[0]?.most, 2);
    assert.deepEqual(await recorded(fleet, slugs), Object.fromEntries(slugs.map((slug) => [slug, BOTH])));
    assert.equal((await currentRelease(fleet.registry))?.name, 'r1');
    const versions = await fleet.registry.query(`SELECT DISTINCT schema_version AS v FROM databases`);
    assert.deepEqual(versions.rows, [{ v: '002_gate' }]);
    const audited = await fleet.registry.query(
      'SELECT action FROM audit_log WHERE resource = $1 ORDER BY seq',
      [`rollout:${id}`],
    );
    assert.deepEqual(
      audited.rows.map((row) => row.action as string),
      ['rollout.plan', 'rollout.start', 'rollout.succeed'],
    );
  });

  it('says at a halt what was in flight, so that more failures than it counts are no riddle', async () => {
    await fleet.spoil('aaa');
    const gate = await fleet.close('bbb');
    const id = await fleet.start();
    const driving = fleet.drive(id);
    await until('it has halted', async () => (await fleet.read(id)).state === 'halted');
    await gate.open();
    await driving;
    const said =
      /^wave all: 1 target failed, its budget bears 0; (1 more was|\d more were) in flight at that moment$/;
    assert.match((await fleet.read(id)).cause?.message ?? '', said);
  });

  it('halts at a failing canary, starts nothing after it, and retries only what is not done', async () => {
    await fleet.spoil('bbb');
    const id = await fleet.start([{ name: 'canary', count: 2, parallel: 1 }, { name: 'rest' }]);
    await fleet.drive(id);
    const halted = await fleet.read(id);
    assert.equal(halted.state, 'halted');
    assert.equal(halted.cause?.code, 'budget_exceeded');
    assert.equal(halted.cause.actor, 'engine');
    assert.equal(halted.waves[0]?.state, 'failed');
    assert.deepEqual(
      halted.targets.map((target) => [target.tenant, target.state, target.tries]),
      [
        ['aaa', 'verified', 1],
        ['bbb', 'failed', 1],
        ['ccc', 'pending', 0],
        ['ddd', 'pending', 0],
        ['eee', 'pending', 0],
      ],
    );
    assert.equal(halted.targets[1]?.error?.code, 'migration_failed');
    const before = fleet.visits;
    await fleet.drive(id);
    assert.equal(fleet.visits, before, 'a halted rollout visits nothing');

    await fleet.mend('bbb');
    await fleet.registry.transaction((tx) => retryRollout(tx, id, ASKER));
    await fleet.registry.transaction((tx) => retryRollout(tx, id, ASKER));
    await fleet.drive(id);
    const done = await fleet.read(id);
    assert.equal(done.state, 'succeeded');
    assert.deepEqual(
      done.targets.map((target) => target.tries),
      [1, 2, 1, 1, 1],
    );
    assert.equal(done.cause, null);
  });

  it('lets what is in flight finish after the budget is broken', async () => {
    await fleet.spoil('aaa');
    const gate = await fleet.close('bbb');
    const id = await fleet.start([{ name: 'all', parallel: 2 }]);
    const driving = fleet.drive(id);
    await until('it halts', async () => (await fleet.read(id)).state === 'halted');
    assert.equal((await fleet.states(id)).bbb, 'running');
    await gate.open();
    await driving;
    assert.deepEqual(await fleet.states(id), {
      ...{ aaa: 'failed', bbb: 'verified', ccc: 'pending', ddd: 'pending', eee: 'pending' },
    });
  });

  it('bears failures within the budget, but has not succeeded while they are behind', async () => {
    await fleet.spoil('aaa');
    const id = await fleet.start([{ name: 'all', budget: { failures: '20%' } }]);
    await fleet.drive(id);
    const halted = await fleet.read(id);
    assert.equal(halted.state, 'halted');
    assert.equal(halted.cause?.code, 'targets_behind');
    assert.equal(halted.waves[0]?.state, 'passed');
    assert.equal(halted.counts.verified, 4);
    assert.equal(await currentRelease(fleet.registry), undefined);
    await fleet.mend('aaa');
    await fleet.registry.transaction((tx) => retryRollout(tx, id, ASKER));
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
  });

  it('retries the one tenant that is named, and leaves the others alone', async () => {
    await fleet.spoil('aaa');
    await fleet.spoil('bbb');
    const id = await fleet.start([{ name: 'all', parallel: 2, budget: { failures: 0 } }]);
    await fleet.drive(id);
    const failed = Object.values(await fleet.states(id)).filter((state) => state === 'failed').length;
    assert.equal(failed, 2);
    await fleet.mend('aaa');
    await fleet.registry.transaction((tx) => retryRollout(tx, id, { ...ASKER, target: 'aaa' }));
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'halted');
    assert.deepEqual(await fleet.states(id), {
      ...{ aaa: 'verified', bbb: 'failed', ccc: 'pending', ddd: 'pending', eee: 'pending' },
    });
    await assert.rejects(
      fleet.registry.transaction((tx) => retryRollout(tx, id, { ...ASKER, target: 'ccc' })),
      { code: 'nothing_to_retry' },
    );
    assert.equal((await fleet.read(id)).state, 'halted');
  });

  it('retries a named target of a rollout that runs, at once and once, also in a wave that has passed', async () => {
    await fleet.spoil('aaa');
    const gate = await fleet.close('bbb');
    const id = await fleet.start([
      { name: 'one', match: { tenants: ['aaa', 'ccc'] }, parallel: 1, budget: { failures: 1 } },
      { name: 'two', match: { tenants: ['bbb', 'ddd'] }, parallel: 1 },
      { name: 'last' },
    ]);
    const driving = fleet.drive(id);
    await runningTarget(fleet, id, 'bbb');
    const retry = (more: object) =>
      fleet.registry.transaction((tx) => retryRollout(tx, id, { ...ASKER, ...more }));
    const { version } = await fleet.read(id);
    await retry({});
    await retry({ target: 'bbb' });
    await retry({ wave: 'two' });
    assert.equal((await fleet.read(id)).version, version, 'nothing of it has failed: it runs');
    await assert.rejects(retry({ target: 'ccc' }), { code: 'nothing_to_retry', status: 409 });
    await fleet.mend('aaa');
    await Promise.all([1, 2, 3].map(() => retry({ target: 'aaa' })));
    // Who has read the rollout before that would close a wave that has a target to run again.
    await whileRunning({ rolloutId: id, lease: fleet.registry }, { version }, () =>
      assert.fail('it has changed'),
    );
    await until('it is through', async () => (await fleet.states(id)).aaa === 'verified');
    assert.equal((await fleet.states(id)).bbb, 'running', 'while others run');
    await gate.open();
    await driving;
    const done = await fleet.read(id);
    assert.equal(done.state, 'succeeded');
    assert.deepEqual(
      done.targets.map((target) => [target.tenant, target.tries]),
      [['aaa', 2], ...['ccc', 'bbb', 'ddd', 'eee'].map((tenant) => [tenant, 1])],
    );
    const { rows } = await fleet.registry.query<{ after: unknown }>(
      `SELECT after FROM audit_log WHERE action = 'rollout.retry'`,
    );
    assert.deepEqual(rows, [{ after: { tenant: 'aaa', targets: 1 } }]);
    await assert.rejects(retry({ target: 'aaa' }), { code: 'wrong_state', status: 409 });
  });

  it('runs a skipped target again when it is named', async () => {
    const gate = await fleet.close('aaa');
    const id = await fleet.start([{ name: 'all', parallel: 1 }]);
    const driving = fleet.drive(id);
    await runningTarget(fleet, id, 'aaa');
    const said = { ...ASKER, target: 'ccc', reason: 'by mistake' };
    await fleet.registry.transaction((tx) => skipTarget(tx, id, said));
    await fleet.registry.transaction((tx) => retryRollout(tx, id, { ...ASKER, target: 'ccc' }));
    await gate.open();
    await driving;
    const done = await fleet.read(id);
    assert.deepEqual([done.state, done.counts.verified], ['succeeded', 5]);
  });

  it('pauses between targets and resumes', async () => {
    const gate = await fleet.close('bbb');
    const id = await fleet.start([{ name: 'all', parallel: 1 }]);
    const driving = fleet.drive(id);
    await runningTarget(fleet, id, 'bbb');
    const pause = { ...ASKER, reason: 'lunch' };
    await fleet.registry.transaction((tx) => pauseRollout(tx, id, pause));
    await fleet.registry.transaction((tx) => pauseRollout(tx, id, pause));
    await gate.open();
    await driving;
    const paused = await fleet.read(id);
    assert.equal(paused.state, 'paused');
    assert.deepEqual(paused.cause, { code: 'paused', message: 'lunch', actor: 'system' });
    assert.equal(paused.counts.verified, 2);
    assert.equal(paused.counts.pending, 3);
    await fleet.registry.transaction((tx) => resumeRollout(tx, id, ASKER));
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
  });

  it('aborts for good: in-flight targets finish, the others say that they never began', async () => {
    const gate = await fleet.close('bbb');
    const id = await fleet.start([{ name: 'all', parallel: 1 }]);
    const driving = fleet.drive(id);
    await runningTarget(fleet, id, 'bbb');
    await fleet.registry.transaction((tx) => abortRollout(tx, id, ASKER));
    await gate.open();
    await driving;
    assert.deepEqual(await fleet.states(id), {
      ...{ aaa: 'verified', bbb: 'verified', ccc: 'skipped', ddd: 'skipped', eee: 'skipped' },
    });
    for (const verb of [resumeRollout, retryRollout, pauseRollout]) {
      await assert.rejects(
        fleet.registry.transaction((tx) => verb(tx, id, ASKER)),
        { code: 'wrong_state', status: 409 },
      );
    }
    await assert.rejects(fleet.start(), { code: 'rollout_abandoned' });
    const again = await fleet.start(undefined, { supersede: id });
    await fleet.drive(again);
    assert.equal((await fleet.read(again)).state, 'succeeded');
    assert.equal((await fleet.read(again)).total, 3);
  });

  it('stops gracefully: nothing new, what is in flight is recorded', async () => {
    const gate = await fleet.close('bbb');
    const id = await fleet.start([{ name: 'all', parallel: 1 }]);
    const lease = await takeLease(fleet.registry, `rollout:${id}`);
    const driving = fleet.driver.drive(id, lease);
    await runningTarget(fleet, id, 'bbb');
    lease.stop.abort();
    await gate.open();
    await driving;
    const { counts, state } = await fleet.read(id);
    assert.deepEqual([state, counts.verified, counts.pending], ['running', 2, 3]);
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
  });

  it('is taken over from a zombie: its session is ended, each migration recorded once', async () => {
    const gate = await fleet.close('bbb');
    const id = await fleet.start([{ name: 'all', parallel: 2 }]);
    const zombie = fleet.driver.drive(id, await takeLease(fleet.registry, `rollout:${id}`));
    await atGate(fleet, 'bbb');
    const successor = fleet.driver.drive(id, await takeLease(fleet.registry, `rollout:${id}`));
    await until('the successor has it', async () => {
      const { rowCount } = await fleet.registry.query(
        `SELECT 1 FROM rollout_targets WHERE epoch = 2 AND state = 'running' AND tries = 2`,
      );
      return rowCount === 1;
    });
    await gate.open();
    await Promise.all([zombie, successor]);
    assert.equal((await fleet.read(id)).state, 'succeeded');
    assert.deepEqual(await recorded(fleet, slugs), Object.fromEntries(slugs.map((slug) => [slug, BOTH])));
  });

  it('is taken over from a dead worker, whose lease was cut in the middle', async () => {
    const gate = await fleet.close('ccc');
    const id = await fleet.start([{ name: 'all', parallel: 2 }]);
    const lease = await takeLease(fleet.registry, `rollout:${id}`);
    const dying = fleet.driver.drive(id, lease);
    await atGate(fleet, 'ccc');
    lease.abort.abort();
    await dying;
    assert.equal((await fleet.states(id)).ccc, 'running', 'nobody wrote what nobody knows');
    await gate.open();
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
    assert.deepEqual(await recorded(fleet, slugs), Object.fromEntries(slugs.map((slug) => [slug, BOTH])));
  });

  it('asks the databases of a paused rollout whose worker died, and applies nothing there', async () => {
    const gate = await fleet.close('bbb');
    const id = await fleet.start([{ name: 'all', parallel: 1 }]);
    const lease = await takeLease(fleet.registry, `rollout:${id}`);
    const dying = fleet.driver.drive(id, lease);
    await atGate(fleet, 'bbb');
    lease.abort.abort();
    await dying;
    await fleet.registry.transaction((tx) => pauseRollout(tx, id, ASKER));
    const open = await fleet.registry.query(fleet.driver.openIdsSql);
    assert.deepEqual(open.rows, [{ id }]);
    await fleet.drive(id);
    await gate.open();
    assert.equal((await fleet.states(id)).bbb, 'pending');
    assert.deepEqual((await recorded(fleet, ['bbb'])).bbb, ['001_notes']);
    assert.equal((await fleet.registry.query(fleet.driver.openIdsSql)).rowCount, 0);
    await fleet.registry.transaction((tx) => resumeRollout(tx, id, ASKER));
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
  });
});
