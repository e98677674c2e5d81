import assert from 'node:assert/strict';
import fc from 'fast-check';
import { borne } from '../../../contract/budget.ts';
import { Budget } from '../../../contract/rollout.ts';
import { exceeded, mayBeInFlight, type Tally } from '../../../control-plane/rollouts/engine/budget.ts';

const RUNS = { numRuns: 1_000, seed: 20261121 };

function tally(given: Partial<Tally>): Tally {
  return { base: 100, failed: 0, ended: 0, inARow: 0, ...given };
}

describe('failure budget', () => {
  it('is a count, or a share of which a failure may not be more', () => {
    assert.equal(borne(2, 1), 2);
    assert.equal(borne('1%', 99), 0);
    assert.equal(borne('1%', 100), 1);
    assert.equal(borne('29%', 100), 29);
    assert.equal(borne(undefined, 100), 0);
    assert.equal(borne('1%', 50), 0, '1 of 50 is 2 %');
    assert.equal(borne('2%', 50), 1);
    assert.equal(borne('99.99999999%', 100), 99, 'no share is rounded up');
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 5_000 }), (percent, total) => {
        const bears = borne(`${percent}%`, total);
        assert.ok(bears * 100 <= percent * total && (bears + 1) * 100 > percent * total);
      }),
      RUNS,
    );
  });

  it('is exceeded by one more than it bears, and says so', () => {
    const budget = Budget.parse({ failures: '2%' });
    assert.equal(exceeded(budget, tally({ failed: 2, ended: 2 })), undefined);
    assert.equal(
      exceeded(budget, tally({ failed: 3, ended: 3 })),
      '3 targets failed, its budget bears 2 (2% of 100)',
    );
    assert.equal(
      exceeded(Budget.parse({}), tally({ failed: 1, ended: 1 })),
      '1 target failed, its budget bears 0',
    );
  });

  it('judges a share from `minTargets` ended targets on, and a row of failures at once', () => {
    const budget = Budget.parse({ failures: '10%', minTargets: 20, consecutive: 3 });
    assert.equal(exceeded(budget, tally({ base: 20, failed: 3, ended: 19, inARow: 2 })), undefined);
    assert.match(exceeded(budget, tally({ base: 20, failed: 3, ended: 20, inARow: 2 })) ?? '', /bears 2/);
    assert.match(
      exceeded(budget, tally({ failed: 3, ended: 3, inARow: 3 })) ?? '',
      /3 targets failed in a row/,
    );
  });

  it('lets less run at once the less is left, and overshoots by less than `parallel`', () => {
    assert.equal(mayBeInFlight(Budget.parse({}), tally({}), 8), 8);
    const few = Budget.parse({ failures: 5 });
    assert.equal(mayBeInFlight(few, tally({ failed: 3, ended: 9 }), 8), 3);
    assert.equal(mayBeInFlight(few, tally({ failed: 5, ended: 9 }), 8), 1);
    assert.equal(mayBeInFlight(Budget.parse({ consecutive: 4 }), tally({ failed: 2, inARow: 2 }), 8), 1);
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 1, max: 100 }),
        (failures, parallel, total) => {
          const budget = Budget.parse({ failures });
          const now = tally({ base: total });
          let left = total;
          // Everything fails, in rounds of what may be in flight.
          while (exceeded(budget, now) === undefined && left > 0) {
            const round = Math.min(left, mayBeInFlight(budget, now, parallel));
            assert.ok(round >= 1 && round <= parallel);
            left -= round;
            now.failed += round;
            now.ended += round;
          }
          assert.ok(
            now.failed - failures <= parallel,
            'the one that exceeds it, and at most parallel − 1 more',
          );
          if (failures >= parallel) assert.ok(now.failed <= failures + 1);
        },
      ),
      RUNS,
    );
  });
});
