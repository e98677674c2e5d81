import assert from 'node:assert/strict';
import fc from 'fast-check';
import { simulateWaves, type SimulatedWave } from '../../../control-plane/rollouts/plan/simulate.ts';

const RUNS = { numRuns: 1_000, seed: 20_261_121 };

/** Targets on one of three servers, of up to a second each. */
const targets = fc.array(
  fc.record({ serverId: fc.constantFrom('a', 'b', 'c'), durationMs: fc.integer({ min: 1, max: 1_000 }) }),
  { minLength: 1, maxLength: 40 },
);
const limits = fc.integer({ min: 1, max: 12 });

function wave(more: Partial<SimulatedWave>): SimulatedWave {
  return { parallel: 16, perServer: 16, dependsOn: [], bakeMs: 0, targets: [], ...more };
}

function lengthOf(one: Partial<SimulatedWave>): number {
  return simulateWaves([wave(one)])[0] ?? 0;
}

function sum(all: SimulatedWave['targets']): number {
  return all.reduce((total, { durationMs }) => total + durationMs, 0);
}

describe('a simulated rollout', () => {
  it('takes as long as its longest target at least, and as all together at most', () => {
    fc.assert(
      fc.property(targets, limits, limits, (all, parallel, perServer) => {
        const took = lengthOf({ targets: all, parallel, perServer });
        assert.ok(took >= Math.max(...all.map(({ durationMs }) => durationMs)));
        assert.ok(took <= sum(all));
        assert.ok(took >= sum(all) / parallel);
      }),
      RUNS,
    );
  });

  it('takes no longer with more at once', () => {
    fc.assert(
      fc.property(targets, limits, (all, parallel) => {
        const perServer = all.length;
        const fewer = lengthOf({ targets: all, parallel, perServer });
        assert.ok(lengthOf({ targets: all, parallel: parallel + 1, perServer }) <= fewer);
      }),
      RUNS,
    );
  });

  it('keeps to what a server bears', () => {
    const on = (serverId: string) => ({ serverId, durationMs: 100 });
    const all = [on('a'), on('a'), on('a'), on('b')];
    assert.equal(lengthOf({ targets: all, perServer: 1 }), 300);
    assert.equal(lengthOf({ targets: all, perServer: 3 }), 100);
    assert.equal(lengthOf({ targets: all, perServer: 3, parallel: 2 }), 200);
  });

  it('waits for the waves before, and for their bakes', () => {
    const one = [{ serverId: 'a', durationMs: 100 }];
    const canary = wave({ targets: one, bakeMs: 1_000 });
    const ends = simulateWaves([
      canary,
      wave({ targets: one, dependsOn: [0] }),
      wave({ targets: one }),
      wave({ dependsOn: [1, 2] }),
    ]);
    assert.deepEqual(ends, [1_100, 1_200, 100, 1_200]);
  });

  it('plays a large fleet through in no time', () => {
    const all = Array.from({ length: 20_000 }, (_none, index) => ({
      serverId: `s${index % 50}`,
      durationMs: 20,
    }));
    const begun = performance.now();
    assert.equal(lengthOf({ targets: all, parallel: 100, perServer: 2 }), 4_000);
    assert.ok(performance.now() - begun < 2_000);
  });
});
