import assert from 'node:assert/strict';
import type { Driver } from '../../../control-plane/operations/driver.ts';
import { MIGRATION_LOCK } from '../../../control-plane/releases/bookkeeping.ts';
import { createRolloutDriver } from '../../../control-plane/rollouts/engine/driver.ts';
import { changedTargets } from '../../../control-plane/rollouts/verbs/undo-store.ts';
import { abortRollout } from '../../../control-plane/rollouts/verbs/abort.ts';
import { pauseRollout, resumeRollout } from '../../../control-plane/rollouts/verbs/pause.ts';
import { retryRollout } from '../../../control-plane/rollouts/verbs/retry.ts';
import { skipTarget } from '../../../control-plane/rollouts/verbs/skip.ts';
import { withClient } from '../../../platform/pg.ts';
import { driveOnce, takeLease } from '../../support/drive.ts';
import { quietLogger } from '../../support/registry.ts';
import { until } from '../../support/until.ts';
import { ASKER, bearAll, makeRolloutFleet, type RolloutFleet } from './rollout-fleet.ts';

/** Servers that are away are tried again after a minute: no test waits for that by accident. */
const PATIENT = { firstMs: 60_000, maxMs: 60_000, giveUpMs: 3_600_000 };

describe('rollout whose owner or server was lost', () => {
  let fleet: RolloutFleet;

  beforeEach(async () => {
    fleet = await makeRolloutFleet(['aaa', 'us-aaa', 'us-bbb']);
  });
  afterEach(() => fleet.drop());

  it('asks what became of a target in flight though its window has closed meanwhile', async () => {
    const id = await fleet.start([{ name: 'all', match: { tenants: ['aaa'] } }]);
    await crash(id, 'aaa');
    const never = [{ match: {}, freeze: { from: '2000-01-01T00:00:00Z', to: '2100-01-01T00:00:00Z' } }];
    await fleet.registry.query(
      `UPDATE rollouts SET spec = spec || jsonb_build_object('calendar', $2::jsonb) WHERE id = $1`,
      [id, JSON.stringify(never)],
    );
    await fleet.drive(id);
    assert.equal((await fleet.states(id)).aaa, 'deferred');
    assert.equal(await open(), 0, 'nobody drives it before the window opens');
  });

  it('waits for the server of a target in flight that cannot be asked, and goes on when it is back', async () => {
    const id = await fleet.start([
      { name: 'us', match: { tenants: ['us-aaa'] } },
      { name: 'eu', match: { region: 'eu' }, approve: true },
    ]);
    await crash(id, 'us-aaa');
    fleet.down.add('us');
    await fleet.registry.query(
      `INSERT INTO rollout_outages (rollout_id, server_id, next_try_at)
       SELECT $1, id, now() + interval '1 minute' FROM servers WHERE region = 'us'`,
      [id],
    );
    await driveOnce(fleet.registry, patientDriver(), id);
    assert.equal((await fleet.states(id))['us-aaa'], 'unreachable');
    assert.equal((await fleet.read(id)).state, 'running');
    assert.equal(await open(), 0, 'nobody drives it before the server is tried again');

    await serverIsBack(id);
    assert.equal((await fleet.states(id))['us-aaa'], 'verified');
  });

  it('may have left something that an undo takes back, though a person has left the tenant behind', async () => {
    const id = await fleet.start([{ name: 'all', match: { tenants: ['us-aaa'] } }]);
    await crash(id, 'us-aaa');
    fleet.down.add('us');
    await driveOnce(fleet.registry, patientDriver(), id);
    await fleet.registry.transaction((tx) =>
      skipTarget(tx, id, { ...ASKER, target: 'us-aaa', reason: 'it does not answer' }),
    );
    await fleet.registry.transaction((tx) => abortRollout(tx, id, ASKER));
    const [changed] = await changedTargets(fleet.registry, id);
    assert.deepEqual([changed?.slug, changed?.schemaVersion], ['us-aaa', null]);
  });

  it('ends the session of the lost owner also where nobody could be asked at first', async () => {
    const id = await fleet.start([{ name: 'all', match: { tenants: ['us-aaa'] } }]);
    await crash(id, 'us-aaa');
    // The owner was only cut off: its session still holds the lock of migrations.
    const { address } = fleet.database('us-aaa');
    const held = withClient(address, { applicationName: `fleet:${id}:1` }, async (client) => {
      const ended = new Promise<void>((resolve) => client.once('end', resolve));
      client.on('error', () => undefined);
      await client.query(`SELECT pg_advisory_lock(${MIGRATION_LOCK})`);
      await ended;
    });
    await until('the lock is held', () =>
      fleet.onDatabase('us-aaa', async (client) => {
        const { rowCount } = await client.query(
          `SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
            WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = $1`,
          [`fleet:${id}:1`],
        );
        return rowCount === 1;
      }),
    );
    await fleet.registry.transaction((tx) => pauseRollout(tx, id, ASKER));
    fleet.down.add('us');
    await fleet.drive(id);
    assert.equal((await fleet.states(id))['us-aaa'], 'unreachable');
    fleet.down.clear();
    await fleet.registry.transaction((tx) => resumeRollout(tx, id, ASKER));
    await fleet.registry.transaction((tx) => retryRollout(tx, id, { ...ASKER, target: 'us-aaa' }));
    await fleet.drive(id);
    assert.equal((await fleet.states(id))['us-aaa'], 'verified');
    await held.catch(() => undefined);
  });

  it('leaves borne targets of a wave that has passed where they are when their server is tried again', async () => {
    fleet.down.add('us');
    const id = await fleet.start([
      { name: 'one', match: { tenants: ['us-aaa'] }, budget: { unreachable: 1 } },
      { name: 'two', match: { tenants: ['us-bbb'] } },
    ]);
    await fleet.drive(id);
    const halted = await fleet.read(id);
    assert.deepEqual([halted.cause?.code, halted.waves[0]?.state], ['servers_unreachable', 'passed']);
    await fleet.registry.transaction((tx) => retryRollout(tx, id, { ...ASKER, target: 'us-bbb' }));
    await driveOnce(fleet.registry, patientDriver(), id);
    await serverIsBack(id);
    assert.deepEqual(await fleet.states(id), {
      'us-aaa': 'unreachable',
      'us-bbb': 'verified',
      aaa: 'verified',
    });
    const behind = await fleet.read(id);
    assert.equal(behind.cause?.code, 'targets_behind');
    assert.match(behind.cause.fix ?? '', /rollout retry/);
    await fleet.registry.transaction((tx) => retryRollout(tx, id, ASKER));
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
  });

  function patientDriver(): Driver {
    const { registry, servers } = fleet;
    const retry = { retries: 0, firstDelayMs: 1, maxDelayMs: 1 };
    return createRolloutDriver({
      registry,
      servers,
      logger: quietLogger,
      retry,
      outage: PATIENT,
      guard: bearAll,
    });
  }

  /** And it is time to try it again. */
  async function serverIsBack(id: string): Promise<void> {
    fleet.down.clear();
    await fleet.registry.query('UPDATE rollout_outages SET next_try_at = now()');
    await driveOnce(fleet.registry, patientDriver(), id);
  }

  /** Rollouts that some worker should be driving now. */
  async function open(): Promise<number> {
    return (await fleet.registry.query(fleet.driver.openIdsSql)).rowCount ?? 0;
  }

  /** Kills the owner of the rollout, its first, while it migrates the tenant's database. */
  async function crash(id: string, slug: string): Promise<void> {
    const gate = await fleet.close(slug);
    const lease = await takeLease(fleet.registry, `rollout:${id}`);
    const driving = fleet.driver.drive(id, lease);
    await until(`${slug} runs`, async () => (await fleet.states(id))[slug] === 'running');
    lease.abort.abort();
    await driving;
    // Its session dies with it, before the gate lets it through.
    await fleet.onDatabase(slug, (client) =>
      client.query(
        'SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = $1',
        [`fleet:${id}:${lease.epoch}`],
      ),
    );
    await gate.open();
    await fleet.registry.query('UPDATE leases SET holder = NULL, expires_at = NULL');
  }
});
