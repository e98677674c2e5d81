import { LATENCY_BOUNDS_MS } from '../../contract/latency.ts';

/**
 * The latency that `share` (0 to 1) of the counted requests did not exceed, in milliseconds: within its bucket it is
 * taken for evenly spread, as Prometheus does. Of what took longer than all bounds only that much is known. Null
 * without requests.
 */
export function percentileMs(counts: readonly number[], share: number): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  const rank = total * share;
  let below = 0;
  for (const [bucket, count] of counts.entries()) {
    if (count > 0 && below + count >= rank) return within(bucket, (rank - below) / count);
    below += count;
  }
  return LATENCY_BOUNDS_MS.at(-1) ?? null;
}

function within(bucket: number, part: number): number {
  const low = bucket === 0 ? 0 : (LATENCY_BOUNDS_MS[bucket - 1] ?? 0);
  const high = LATENCY_BOUNDS_MS[bucket] ?? low;
  return low + (high - low) * part;
}
