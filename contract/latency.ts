/**
 * Upper bounds of the buckets that latencies are counted in, in milliseconds. The same in every process, so that
 * counts of many instances and minutes can be added up: percentiles cannot. Narrow where web requests live, so that a
 * p95 is off by a third at most; 15 s is where requests are cut off.
 */
export const LATENCY_BOUNDS_MS = [
  1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1_000, 2_000, 5_000, 15_000,
] as const;

/** One for each bound, and one for what took longer. */
export const LATENCY_BUCKETS = LATENCY_BOUNDS_MS.length + 1;

/** The bucket that a request of `ms` milliseconds is counted in. */
export function latencyBucket(ms: number): number {
  let bucket = 0;
  for (const bound of LATENCY_BOUNDS_MS) {
    if (ms <= bound) return bucket;
    bucket += 1;
  }
  return bucket;
}
