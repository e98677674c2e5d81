import type { RolloutSummary } from '../../contract/rollout.ts';
import { doneOf } from './rollout-bar.ts';

/** What a person can do now; undefined where there is only waiting. The cause's own remedy goes first. */
export function nextWords(rollout: RolloutSummary): string | undefined {
  const { id, state, cause, queuedAt, startedAt } = rollout;
  if (cause?.fix !== undefined) return cause.fix;
  switch (state) {
    case 'planned':
      return queuedAt === null
        ? `fleet rollout start ${id}`
        : 'it begins when the active rollout is over: fleet rollout list --state running';
    case 'awaiting_approval':
      return startedAt === null
        ? `the plan waits for somebody else than its author: fleet rollout approve ${id}`
        : `the waves behind wait for somebody else than the plan's author: fleet rollout approve ${id}`;
    case 'paused':
      return `fleet rollout resume ${id}`;
    case 'halted':
      return `mend the cause, then fleet rollout retry ${id}`;
    case 'aborted':
      return afterAbort(rollout);
    case 'undoing':
      return 'it is taken back by a rollout of its own: fleet rollout list --state running';
    default:
      return undefined;
  }
}

/** An abort takes nothing back: where it came in the middle, the fleet has two schemas until somebody decides. */
function afterAbort(rollout: RolloutSummary): string | undefined {
  const { id, release, supersededBy, undoOf, counts, total, startedAt } = rollout;
  if (supersededBy !== null) return `fleet rollout get ${supersededBy}, which has taken its place`;
  if (startedAt === null) return undefined;
  if (undoOf !== undefined) return `take the undo up again: fleet rollout undo ${undoOf}`;
  const done = doneOf(counts);
  const again = `fleet rollout start --release ${release} --supersede ${id}`;
  if (done === 0) return `no database has it; to bring it after all: ${again}`;
  if (done === total) return `take it back: fleet rollout undo ${id}`;
  return (
    `${done} of ${total} databases have it: bring the others along (${again}), ` +
    `or take it back (fleet rollout undo ${id}); who lacks it: fleet rollout get ${id} --state skipped`
  );
}
