import assert from 'node:assert/strict';
import { retryRollout } from '../../../control-plane/rollouts/verbs/retry.ts';
import { until } from '../../support/until.ts';
import { ASKER, makeRolloutFleet, type RolloutFleet } from './rollout-fleet.ts';

describe('rollout whose server is away', () => {
  let fleet: RolloutFleet;

  beforeEach(async () => {
    fleet = await makeRolloutFleet(['aaa', 'us-aaa', 'us-bbb']);
  });
  afterEach(() => fleet.drop());

  async function serverEvents(id: string): Promise<string[]> {
    const { rows } = await fleet.registry.query<{ action: string }>(
      `SELECT action FROM audit_log WHERE resource = $1 AND action LIKE 'rollout.server%' ORDER BY seq`,
      [`rollout:${id}`],
    );
    return rows.map((row) => row.action);
  }

  /** As a person's long pause leaves it: the server was seen to be away before, and the next try is due. */
  async function startAfterLongOutage(): Promise<string> {
    const id = await fleet.start([{ name: 'all' }]);
    await fleet.registry.query(
      `INSERT INTO rollout_outages (rollout_id, server_id, since, next_try_at)
       SELECT $1, id, now() - interval '1 hour', now() FROM servers WHERE region = 'us'`,
      [id],
    );
    return id;
  }

  it('waits for a server that is away, tries one target there, and goes on without a person', async () => {
    fleet.down.add('us');
    const id = await fleet.start([{ name: 'all', perServer: 1 }]);
    const driving = fleet.drive(id);
    await until('the outage is noted', async () => {
      const { rowCount } = await fleet.registry.query('SELECT 1 FROM rollout_outages');
      return rowCount === 1;
    });
    fleet.down.clear();
    await driving;
    const done = await fleet.read(id);
    assert.equal(done.state, 'succeeded');
    assert.deepEqual(await serverEvents(id), ['rollout.server_lost', 'rollout.server_back']);
  });

  it('is tried once more after a pause, however long that was', async () => {
    const id = await startAfterLongOutage();
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
  });

  it('lets the driver rest where nothing waits for it any more', async () => {
    await fleet.setTenantState('aaa', 'suspended');
    const id = await fleet.start([{ name: 'all' }]);
    // Of `aaa`'s server nobody is left to be tried; the other one is tried in an hour.
    await fleet.registry.query(
      `INSERT INTO rollout_outages (rollout_id, server_id, next_try_at)
       SELECT $1, id, now() + CASE region WHEN 'us' THEN interval '1 hour' ELSE interval '0' END FROM servers`,
      [id],
    );
    await fleet.drive(id);
    const { rows } = await fleet.registry.query<{ minutes: number }>(
      'SELECT round(extract(epoch FROM wake_at - now()) / 60)::int AS minutes FROM rollouts WHERE id = $1',
      [id],
    );
    assert.deepEqual(rows, [{ minutes: 60 }]);
    assert.deepEqual(await fleet.states(id), { aaa: 'deferred', 'us-aaa': 'pending', 'us-bbb': 'pending' });
  });

  it('passes its wave where it is given up, whatever other server is away', async () => {
    await fleet.setTenantState('aaa', 'suspended');
    const id = await fleet.start([{ name: 'all', budget: { unreachable: 2 } }]);
    await fleet.registry.query(
      `INSERT INTO rollout_outages (rollout_id, server_id, next_try_at, given_up_at)
       SELECT $1, id, now(), CASE region WHEN 'us' THEN now() END FROM servers`,
      [id],
    );
    await fleet.drive(id);
    const { waves } = await fleet.read(id);
    assert.equal(waves[0]?.state, 'passed');
    assert.deepEqual(await fleet.states(id), {
      aaa: 'deferred',
      'us-aaa': 'unreachable',
      'us-bbb': 'unreachable',
    });
  });

  it('is given up by a try that fails after its time, and stays so until a retry', async () => {
    fleet.down.add('us');
    const id = await startAfterLongOutage();
    await fleet.drive(id);
    const halted = await fleet.read(id);
    assert.deepEqual([halted.state, halted.cause?.code], ['halted', 'servers_unreachable']);
    assert.deepEqual(await fleet.states(id), {
      aaa: 'verified',
      'us-aaa': 'unreachable',
      'us-bbb': 'unreachable',
    });
    // One target was tried, with the retries of its own.
    assert.equal(fleet.visits, 1 + 3);
    fleet.down.clear();
    await fleet.registry.transaction((tx) => retryRollout(tx, id, ASKER));
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
  });
});
