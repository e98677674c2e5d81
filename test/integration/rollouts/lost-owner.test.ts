import assert from 'node:assert/strict';
import type { Driver } from '../../../control-plane/operations/driver.ts';
import { createRolloutDriver } from '../../../control-plane/rollouts/driver.ts';
import { retryRollout } from '../../../control-plane/rollouts/verbs.ts';
import { driveOnce } from '../../support/drive.ts';
import { quietLogger } from '../../support/registry.ts';
import { ASKER, bearAll, makeRolloutFleet, type RolloutFleet } from './rollout-fleet.ts';

/** Servers that are away are tried again after a minute: no test waits for that by accident. */
const PATIENT = { firstMs: 60_000, maxMs: 60_000, giveUpMs: 3_600_000 };

describe('rollout whose owner or server was lost', () => {
  let fleet: RolloutFleet;

  beforeEach(async () => {
    fleet = await makeRolloutFleet(['aaa', 'us-aaa', 'us-bbb']);
  });
  afterEach(() => fleet.drop());

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
});
