import type { RolloutSummary } from '../../contract/rollout.ts';
import { planStateText } from './plan-state.ts';
import { brokenOf, doneOf } from './rollout-bar.ts';
import { causeText } from './rollout-lines.ts';
import { age, spent } from './time.ts';
import type { View } from './view.ts';

/** Rollouts as a list; a single one is a frame (rollout-frame.ts). */
export const rolloutView: View<RolloutSummary> = {
  noun: 'rollouts',
  name: (rollout) => rollout.id,
  columns: [
    { title: 'id', value: (rollout) => rollout.id, whole: true },
    { title: 'release', value: (rollout) => rollout.release },
    { title: 'state', value: (rollout, paint) => planStateText(rollout, paint) },
    { title: 'done', value: (rollout) => `${doneOf(rollout.counts)}/${rollout.total}`, right: true },
    { title: 'failed', value: (rollout) => brokenOf(rollout.counts), right: true },
    { title: 'took', value: (rollout) => spent(rollout.startedAt, rollout.finishedAt), right: true },
    { title: 'age', value: (rollout) => age(rollout.createdAt), right: true },
    { title: 'author', value: (rollout) => rollout.author },
    { title: 'cause', value: causeText, wide: true },
  ],
};
