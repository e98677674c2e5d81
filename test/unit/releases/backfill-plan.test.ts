import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  etaSeconds,
  NO_PACE,
  paceAfter,
  rateOf,
  type Pace,
} from '../../../control-plane/releases/backfill-eta.ts';
import {
  CHUNK_LIMITS,
  sizeAfterChunk,
  sizeAfterFailure,
} from '../../../control-plane/releases/backfill-size.ts';

const RUNS = { numRuns: 1_000, seed: 20261121 };
const { targetMs, minRows, maxRows } = CHUNK_LIMITS;
const size = fc.integer({ min: minRows, max: maxRows });

describe('the size of a chunk', () => {
  it('stays within its bounds and grows by a fifth at most', () => {
    fc.assert(
      fc.property(
        size,
        fc.integer({ min: 1, max: maxRows }),
        fc.integer({ min: 0, max: 10_000 }),
        (from, rows, ms) => {
          const next = sizeAfterChunk(from, { rows: Math.min(rows, from), ms });
          assert.ok(next >= minRows && next <= maxRows && next <= Math.ceil(from * 1.2));
        },
      ),
      RUNS,
    );
  });

  it('shrinks in proportion at once', () => {
    assert.equal(sizeAfterChunk(1_000, { rows: 1_000, ms: 2_000 }), 250);
    assert.equal(sizeAfterChunk(1_000, { rows: 1_000, ms: 400 }), 1_200);
    assert.equal(sizeAfterChunk(1_000, { rows: 1_000, ms: 480 }), 1_042);
  });

  it('does not learn from the rest at the end of a pass', () => {
    assert.equal(sizeAfterChunk(1_000, { rows: 3, ms: 1 }), 1_000);
    assert.equal(sizeAfterChunk(1_000, { rows: 100, ms: 1_000 }), 50);
  });

  it('finds the size whose chunks take as long as they should, whatever a row costs', () => {
    fc.assert(
      fc.property(size, fc.double({ min: 0.01, max: 40, noNaN: true }), (from, msPerRow) => {
        let rows = from;
        for (let chunk = 0; chunk < 100; chunk += 1)
          rows = sizeAfterChunk(rows, { rows, ms: rows * msPerRow });
        const wanted = Math.min(Math.max(targetMs / msPerRow, minRows), maxRows);
        assert.ok(rows >= wanted * 0.8 - 1 && rows <= wanted * 1.2 + 1, `${rows} of ${wanted}`);
      }),
      RUNS,
    );
  });

  it('halves to the least in seventeen failures at most', () => {
    fc.assert(
      fc.property(size, (from) => {
        let rows = from;
        for (let failure = 0; failure < 17 && rows > minRows; failure += 1) {
          const next = sizeAfterFailure(rows);
          assert.ok(next < rows && next >= minRows);
          rows = next;
        }
        assert.equal(rows, minRows);
      }),
      RUNS,
    );
  });
});

describe('the estimate of the time left', () => {
  const work = (chunks: number, ms: number, rows = 1_000, from: Pace = NO_PACE): Pace =>
    Array.from({ length: chunks }).reduce<Pace>((pace) => paceAfter(pace, { rows, ms }), from);

  it('is within a third from a tenth of the work on, when chunks take about as long as each other', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 350, max: 650 }), { minLength: 200, maxLength: 200 }),
        fc.integer({ min: 20, max: 190 }),
        (times, now) => {
          const pace = times
            .slice(0, now)
            .reduce<Pace>((so, ms) => paceAfter(so, { rows: 1_000, ms }), NO_PACE);
          const left = times.slice(now).reduce((sum, ms) => sum + ms, 0) / 1_000;
          const eta = etaSeconds(pace, now * 1_000, times.length * 1_000) ?? Number.NaN;
          assert.ok(eta > left * 0.7 - 1 && eta < left * 1.3 + 1, `${eta} s of ${left} s`);
        },
      ),
      RUNS,
    );
  });

  it('forgets how fast it was an hour ago', () => {
    const slowed = work(600, 5_000, 1_000, work(600, 500));
    assert.ok(Math.abs((rateOf(slowed) ?? 0) - 200) < 2, String(rateOf(slowed)));
  });

  it('says nothing before a hundredth is done, and never less than nothing', () => {
    assert.equal(etaSeconds(NO_PACE, 0, 1_000), null);
    assert.equal(etaSeconds(work(1, 500, 9), 9, 1_000), null);
    assert.equal(etaSeconds(work(10, 500), 10_000, 9_000), 0);
  });
});
