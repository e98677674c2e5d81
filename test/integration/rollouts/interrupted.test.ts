import assert from 'node:assert/strict';
import { takeLease } from '../../support/drive.ts';
import { makeRolloutFleet, type RolloutFleet } from './rollout-fleet.ts';

describe('interrupted rollout', () => {
  let fleet: RolloutFleet;

  beforeEach(async () => {
    fleet = await makeRolloutFleet(['aaa', 'bbb', 'ccc', 'ddd', 'eee']);
  });
  afterEach(() => fleet.drop());

  it('judges a failed target as failed when the registry cannot say whether its tenant is gone', async () => {
    await fleet.spoil('aaa');
    const id = await fleet.start([{ name: 'all', parallel: 1 }]);
    const asked = failOnce(fleet, 'AS gone');
    const lease = await takeLease(fleet.registry, `rollout:${id}`);
    const limit = setTimeout(() => lease.abort.abort(), 10_000);
    await fleet.driver.drive(id, lease);
    clearTimeout(limit);
    assert.equal(asked(), 1);
    const rollout = await fleet.read(id);
    assert.deepEqual([rollout.state, rollout.cause?.code], ['halted', 'budget_exceeded']);
    assert.deepEqual(await fleet.states(id), {
      ...{ aaa: 'failed', bbb: 'pending', ccc: 'pending', ddd: 'pending', eee: 'pending' },
    });
  });

  it('gives up its lease over a target that nobody carries, and the next owner repairs it', async () => {
    const id = await fleet.start();
    const lease = await takeLease(fleet.registry, `rollout:${id}`);
    // As if this very owner had claimed it and lost sight of it.
    await fleet.registry.query(
      `UPDATE rollout_targets SET state = 'running', epoch = $2 WHERE rollout_id = $1 AND ordinal = 1`,
      [id, lease.epoch],
    );
    const limit = setTimeout(() => lease.abort.abort(), 10_000);
    await assert.rejects(fleet.driver.drive(id, lease), { name: 'InterruptedError' });
    clearTimeout(limit);
    assert.equal((await fleet.read(id)).state, 'running');
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
  });
});

/** Lets the first query with `part` in it fail as if the registry were away; the answer counts such queries. */
function failOnce(fleet: RolloutFleet, part: string): () => number {
  const query = fleet.registry.query.bind(fleet.registry);
  let count = 0;
  fleet.registry.query = (text, values) => {
    const sql = typeof text === 'string' ? text : text.text;
    if (!sql.includes(part)) return query(text, values);
    count += 1;
    return count === 1 ? Promise.reject(new Error('the registry is away')) : query(text, values);
  };
  return () => count;
}
