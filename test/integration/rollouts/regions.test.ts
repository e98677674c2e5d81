import assert from 'node:assert/strict';
import { readOverview, readRollout, rowView } from '../../../control-plane/rollouts/view/view.ts';
import { listRollouts } from '../../../control-plane/rollouts/view/view-store.ts';
import { makeRolloutFleet, type RolloutFleet } from './rollout-fleet.ts';

describe('rollout before the eyes of one region', () => {
  let fleet: RolloutFleet;

  beforeEach(async () => {
    fleet = await makeRolloutFleet(['aaa', 'bbb', 'us-ccc']);
  });
  afterEach(() => fleet.drop());

  /** What every way of reading shows to a reader of `regions`. */
  async function everyView(id: string, regions: string[] | null) {
    const rows = await listRollouts(fleet.registry, { regions, limit: 10 });
    return [
      await readRollout(fleet.registry, id, regions),
      await readOverview(fleet.registry, id, regions),
      ...rows.map((row) => rowView(row, regions)),
    ];
  }

  it('names a failed tenant, and counts targets, only where the reader may see them', async () => {
    await fleet.spoil('aaa');
    const id = await fleet.start([{ name: 'all', budget: { failures: 1 } }]);
    await fleet.drive(id);
    const everything = await everyView(id, null);
    assert.equal(everything.length, 3);
    for (const view of [...everything, ...(await everyView(id, ['eu']))])
      assert.match(view.cause?.message ?? '', /; the first: aaa$/);
    for (const view of everything) assert.equal(view.total, 3);
    for (const view of await everyView(id, ['us'])) {
      assert.equal(view.cause?.code, 'targets_behind');
      assert.doesNotMatch(JSON.stringify(view), /\b(aaa|bbb|eu)\b/);
      assert.deepEqual([view.total, view.counts.verified, view.counts.failed], [1, 1, 0]);
    }
    const { waves } = await readOverview(fleet.registry, id, ['us']);
    assert.deepEqual(
      waves.map((wave) => [wave.total, wave.counts.verified]),
      [[1, 1]],
    );
  });

  it('names an unreachable server only to those of its region', async () => {
    fleet.down.add('eu');
    const id = await fleet.start([{ name: 'all', parallel: 1 }]);
    await fleet.drive(id);
    for (const view of await everyView(id, ['eu']))
      assert.match(view.cause?.message ?? '', /; the first: aaa on server eu-1$/);
    for (const view of await everyView(id, ['us'])) {
      assert.equal(view.cause?.code, 'servers_unreachable');
      assert.doesNotMatch(JSON.stringify(view), /\b(aaa|bbb|eu-1)\b/);
    }
  });
});
