import assert from 'node:assert/strict';
import fc from 'fast-check';
import { seededRandom } from '../../support/random.ts';
import { estimateEnd, type EtaInput, type EtaWave } from '../../../control-plane/rollouts/view/eta.ts';

const NOW = new Date('2026-11-21T12:00:00.000Z');
const RUNS = { seed: 20_261_121, numRuns: 1_000 };

function wave(given: Partial<EtaWave> = {}): EtaWave {
  return {
    ordinal: 0,
    state: 'running',
    dependsOn: [],
    parallel: 4,
    perServer: 4,
    waiting: new Map(),
    running: [],
    closedMs: null,
    bakeMs: 0,
    gatesMs: 0,
    lacksApproval: false,
    ...given,
  };
}

function seconds(waves: EtaWave[], more: Partial<EtaInput> = {}): number | undefined {
  return estimateEnd({ now: NOW, total: 100, recentMs: Array(20).fill(10_000), waves, ...more })?.seconds;
}

/** What happens where each free slot takes the next target: seconds until the last is through. */
function play(durations: readonly number[], slots: number): number {
  const free: number[] = Array(slots).fill(0);
  for (const duration of durations) {
    const first = free.indexOf(Math.min(...free));
    free[first] = (free[first] ?? 0) + duration;
  }
  return Math.max(...free);
}

describe('the estimated end of a rollout', () => {
  it('is not told before the pace means something', () => {
    const waves = [wave({ waiting: new Map([['eu-1', 90]]) })];
    assert.equal(seconds(waves, { recentMs: [10, 10, 10, 10] }), undefined);
    assert.equal(seconds(waves, { recentMs: [] }), undefined);
    assert.equal(seconds(waves, { total: 3, recentMs: [10_000] }), 230);
  });

  it('is not told while a target is held: nobody knows until when', () => {
    const held = { server: 'eu-1', elapsedMs: 1_000, backfillMs: 5_000, held: true };
    assert.equal(seconds([wave({ running: [held] })]), undefined);
    assert.equal(seconds([wave({ running: [{ ...held, held: false }] })]), 5);
  });

  it('counts whole rounds of targets, within parallel and within what each server bears', () => {
    assert.equal(seconds([wave({ waiting: new Map([['eu-1', 8]]) })]), 20);
    assert.equal(seconds([wave({ waiting: new Map([['eu-1', 9]]) })]), 30);
    assert.equal(seconds([wave({ waiting: new Map([['eu-1', 8]]), perServer: 2 })]), 40);
    const spread = new Map([
      ['eu-1', 4],
      ['eu-2', 4],
    ]);
    assert.equal(seconds([wave({ waiting: spread, perServer: 2 })]), 20);
  });

  it('gives targets in flight what is left of their time, and those over it as much again', () => {
    const running = (elapsedMs: number) => [{ server: 'eu-1', elapsedMs, backfillMs: null, held: false }];
    assert.equal(seconds([wave({ running: running(4_000) })]), 6);
    assert.equal(seconds([wave({ running: running(25_000) })]), 15);
  });

  it('believes running backfills what they say of themselves, and takes it for the others', () => {
    const running = Array(5).fill({ server: 'eu-1', elapsedMs: 60_000, backfillMs: 540_000, held: false });
    assert.equal(seconds([wave({ running, parallel: 5, perServer: 5 })], { recentMs: [] }), 540);
    const waiting = new Map([['eu-1', 5]]);
    assert.equal(seconds([wave({ running, waiting, parallel: 5, perServer: 5 })], { recentMs: [] }), 1_140);
  });

  it('adds bakes and gates, whichever is longer, and waves behind each other, not those side by side', () => {
    const waiting = new Map([['eu-1', 4]]);
    const first = wave({ waiting, bakeMs: 60_000, gatesMs: 90_000 });
    const second = wave({ ordinal: 1, state: 'pending', dependsOn: [0], waiting });
    const beside = wave({ ordinal: 2, state: 'pending', waiting });
    assert.equal(seconds([first, second, beside]), 110);
    assert.equal(seconds([wave({ state: 'baking', bakeMs: 30_000 }), second]), 40);
    assert.equal(seconds([wave({ state: 'passed' }), second]), 10);
  });

  it('waits for windows, and says where somebody has to be asked first', () => {
    assert.equal(seconds([wave({ closedMs: 3_600_000 })]), 3_610);
    const first = wave({ waiting: new Map([['eu-1', 4]]), lacksApproval: true });
    const second = wave({ ordinal: 1, state: 'pending', dependsOn: [0], waiting: new Map([['eu-1', 400]]) });
    const eta = estimateEnd({
      now: NOW,
      total: 100,
      recentMs: Array(20).fill(10_000),
      waves: [first, second],
    });
    assert.deepEqual(eta, { at: '2026-11-21T12:00:10.000Z', seconds: 10, until: 'approval' });
  });

  it('is not thrown off by one that took an hour', () => {
    const recentMs = [...Array<number>(19).fill(1_000), 3_600_000];
    const told = seconds([wave({ waiting: new Map([['eu-1', 40]]) })], { recentMs });
    assert.ok(told !== undefined && told >= 10 && told <= 12, String(told));
  });

  it('is exact where all targets take the same, however many at once', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 1, max: 64 }),
        fc.integer({ min: 1, max: 60 }),
        (count, slots, each) => {
          const told = seconds(
            [wave({ waiting: new Map([['eu-1', count]]), parallel: slots, perServer: slots })],
            { recentMs: Array(10).fill(each * 1_000) },
          );
          assert.equal(told, Math.ceil(count / slots) * each);
        },
      ),
      RUNS,
    );
  });

  it('is within a quarter of what happens where their times differ by three', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 16 }), (seed, slots) => {
        const random = seededRandom(seed);
        const durations = Array.from({ length: 300 }, () => 10_000 + random() * 20_000);
        const [past, rest] = [durations.slice(0, 50), durations.slice(50)];
        const told = seconds(
          [wave({ waiting: new Map([['eu-1', rest.length]]), parallel: slots, perServer: slots })],
          { recentMs: past },
        );
        const took = play(rest, slots) / 1_000;
        assert.ok(told !== undefined && Math.abs(told - took) / took < 0.25, `${told} s, took ${took} s`);
      }),
      RUNS,
    );
  });
});
