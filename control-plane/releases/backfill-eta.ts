/**
 * How fast a backfill works while it may. Both sums fade with the time worked, so that their quotient is the rate of
 * the last minute; time held counts for neither.
 */
export interface Pace {
  rows: number;
  ms: number;
}

export const NO_PACE: Pace = { rows: 0, ms: 0 };

/** A minute of work, some hundred chunks, in milliseconds: smooth enough, and soon right when the load changes. */
const MEMORY_MS = 60_000;

/** The pace after another chunk; `chunk.ms` is all the work on it. */
export function paceAfter(pace: Pace, chunk: { rows: number; ms: number }): Pace {
  const faded = Math.exp(-chunk.ms / MEMORY_MS);
  return { rows: pace.rows * faded + chunk.rows, ms: pace.ms * faded + chunk.ms };
}

/** Rows a second; null before the first chunk. */
export function rateOf(pace: Pace): number | null {
  return pace.ms > 0 ? (pace.rows / pace.ms) * 1_000 : null;
}

/** Less of the table than this says nothing yet: gh-ost's rule. */
const LEAST_SHARE = 0.01;

/**
 * Seconds of work that are left, without what will be held; null while too little is known. The estimate of the rows is
 * the planner's, so that the work may end before or after it.
 */
export function etaSeconds(pace: Pace, done: number, estimated: number): number | null {
  const rate = rateOf(pace);
  if (rate === null || rate === 0 || done < estimated * LEAST_SHARE) return null;
  return Math.round(Math.max(0, estimated - done) / rate);
}
