import assert from 'node:assert/strict';
import type { RolloutTarget } from '../../../contract/rollout.ts';
import type { Paint } from '../../../fleet-cli/output/style.ts';
import { targetView } from '../../../fleet-cli/output/target-view.ts';
import { renderFields, renderTable } from '../../../fleet-cli/output/table.ts';

const plain: Paint = (_tone, text) => text;

const TARGET: RolloutTarget = {
  ...{ tenant: 'acme', region: 'eu', server: 'eu-1', wave: 'all', state: 'skipped', missing: ['1_add'] },
  ...{ error: { code: 'migration_failed', message: 'no such column' }, reason: 'being repaired' },
  ...{ skippedBy: 'anna', notBefore: null, tries: 1, progress: null, durationMs: null },
  ...{ startedAt: null, finishedAt: null },
};

function why(target: RolloutTarget): string {
  return renderTable(
    [target],
    targetView.columns.filter(({ title }) => title === 'why'),
    plain,
    undefined,
  );
}

describe('a target on the screen', () => {
  it('tells of one that was left behind why and by whom, before what had failed', () => {
    assert.equal(why(TARGET), 'WHY\nbeing repaired (anna); before: migration_failed: no such column');
    assert.equal(why({ ...TARGET, error: null, reason: 'aborted', skippedBy: null }), 'WHY\naborted');
    assert.equal(why({ ...TARGET, state: 'failed' }), 'WHY\nmigration_failed: no such column');
  });

  it('says once that its backfill is held', () => {
    const progress = {
      ...{ migration: '2_fill', rowsDone: 1, rowsEstimated: 2, heldMs: 0, rate: null, etaSeconds: null },
      ...{ quarantined: 0, at: '2026-11-21T10:00:00.000Z' },
    };
    const held = (reason: string) =>
      renderFields({ ...TARGET, progress: { ...progress, reason } }, targetView.columns, plain);
    assert.match(held('held for the tenant by anna: x'), / · held for the tenant by anna: x/);
    assert.match(held('replicas lag'), / · held: replicas lag/);
  });
});
