import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LATENCY_BOUNDS_MS, LATENCY_BUCKETS, latencyBucket } from '../../../contract/latency.ts';
import { percentileMs } from '../../../control-plane/apps/latency.ts';

const RUNS = { numRuns: 1_000, seed: 20_261_121 };
const latencies = fc.array(fc.double({ min: 0, max: 20_000, noNaN: true }), { minLength: 1, maxLength: 200 });

function counted(all: readonly number[]): number[] {
  const counts = new Array<number>(LATENCY_BUCKETS).fill(0);
  for (const ms of all) counts[latencyBucket(ms)]! += 1;
  return counts;
}

describe('latency buckets', () => {
  it('hold what is not above their bound', () => {
    assert.equal(latencyBucket(0), 0);
    assert.equal(latencyBucket(1), 0);
    assert.equal(latencyBucket(1.01), 1);
    assert.equal(latencyBucket(15_000), LATENCY_BUCKETS - 2);
    assert.equal(latencyBucket(15_001), LATENCY_BUCKETS - 1);
  });

  it('give a percentile in the bucket that holds the true one', () => {
    fc.assert(
      fc.property(latencies, fc.constantFrom(0.5, 0.95, 0.99, 1), (all, share) => {
        const found = percentileMs(counted(all), share) ?? Number.NaN;
        const sorted = [...all].sort((a, b) => a - b);
        const truth = sorted[Math.ceil(sorted.length * share - 1e-9) - 1] ?? 0;
        assert.equal(latencyBucket(found), Math.min(latencyBucket(truth), LATENCY_BUCKETS - 2));
      }),
      RUNS,
    );
  });

  it('add up: counts of many instances give what one would have counted', () => {
    fc.assert(
      fc.property(latencies, latencies, (one, other) => {
        const sum = counted(one).map((count, bucket) => count + (counted(other)[bucket] ?? 0));
        assert.deepEqual(sum, counted([...one, ...other]));
      }),
      RUNS,
    );
  });

  it('spread evenly within a bucket, know nothing of no requests, and no more than the last bound', () => {
    assert.equal(percentileMs(counted([]), 0.95), null);
    assert.equal(percentileMs(counted([12, 12]), 0.5), 12.5);
    assert.equal(percentileMs(counted([60_000]), 0.95), LATENCY_BOUNDS_MS.at(-1));
  });
});
