import type { RolloutSummary } from '../../contract/rollout.ts';

/** What a person can do now; undefined where there is only waiting. The cause's own remedy goes first. */
export function nextWords({ id, state, cause, queuedAt, startedAt }: RolloutSummary): string | undefined {
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
    case 'undoing':
      return 'it is taken back by a rollout of its own: fleet rollout list --state running';
    default:
      return undefined;
  }
}
