import { borne } from '../../../contract/budget.ts';
import type { Budget } from '../../../contract/rollout.ts';

/** What a budget is measured against: the targets of a wave, or of the whole rollout. */
export interface Tally {
  /** Targets that are its business: neither deferred nor skipped. */
  base: number;
  /** Failed since the last word of a person that bore them. */
  failed: number;
  /** Ended either way: verified or failed. */
  ended: number;
  /** Failures at the end of the row of ended targets, without a success in between. */
  inARow: number;
}

/** Why the budget is exceeded, in words without a subject; undefined while it is not. */
export function exceeded(budget: Budget, tally: Tally): string | undefined {
  if (budget.consecutive !== undefined && tally.inARow >= budget.consecutive) {
    return `${targets(tally.inARow)} failed in a row, its budget halts at ${budget.consecutive}`;
  }
  const bears = borne(budget.failures, tally.base);
  if (!isJudged(budget, tally) || tally.failed <= bears) return undefined;
  const share = typeof budget.failures === 'string' ? ` (${budget.failures} of ${tally.base})` : '';
  return `${targets(tally.failed)} failed, its budget bears ${bears}${share}`;
}

/** A share of few says nothing: 1 of 3 is not 33 %. A count always does. */
function isJudged(budget: Budget, tally: Tally): boolean {
  if (typeof budget.failures === 'number') return true;
  return budget.minTargets === undefined || tally.ended >= budget.minTargets;
}

/**
 * How many targets may be in flight so that all of them failing exceeds the budget by at most the last one. Before
 * the first failure nothing is known to be wrong and `parallel` alone bounds; from then on it is what is left of
 * the budget, plus the one that tells.
 */
export function mayBeInFlight(budget: Budget, tally: Tally, parallel: number): number {
  const left = borne(budget.failures, tally.base) - tally.failed;
  const byFailures = tally.failed > 0 && isJudged(budget, tally) ? left + 1 : parallel;
  const byRow =
    budget.consecutive !== undefined && tally.inARow > 0 ? budget.consecutive - tally.inARow : parallel;
  return Math.max(1, Math.min(parallel, byFailures, byRow));
}

export function targets(count: number): string {
  return count === 1 ? '1 target' : `${count} targets`;
}
