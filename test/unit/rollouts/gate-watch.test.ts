import assert from 'node:assert/strict';
import { createGateWatch, type WatchedWave } from '../../../control-plane/rollouts/engine/gate-watch.ts';
import type { WaveGates, Verdict } from '../../../control-plane/rollouts/engine/gating.ts';

const NOW = new Date('2026-11-21T12:00:00Z');
const WAVE: WatchedWave = { ordinal: 0, state: 'running', doneAt: null, version: 1 };

function at(seconds: number): Date {
  return new Date(NOW.getTime() + seconds * 1_000);
}

/** Gates that answer when the test says so. */
function gates() {
  const asked: { now: Date; answer: (verdict: Verdict) => void; fail: (error: Error) => void }[] = [];
  const run: WaveGates = {
    afterTarget: () => Promise.resolve({ state: 'go' }),
    measure: (now) => new Promise((resolve, reject) => asked.push({ now, answer: resolve, fail: reject })),
  };
  return { run, asked };
}

describe('watching gates', () => {
  it('measures beside the caller, one at a time, and answers each verdict once', async () => {
    const watch = createGateWatch();
    const { run, asked } = gates();
    assert.deepEqual(watch.ask(WAVE, run, NOW), {});
    assert.deepEqual(watch.ask(WAVE, run, at(1)), {});
    assert.deepEqual([asked.length, watch.isBusy(), watch.pending().length], [1, true, 1]);
    const [measuring] = watch.pending();
    asked[0]?.answer({ state: 'wait', nextAt: at(30) });
    await measuring;
    assert.equal(watch.isBusy(), false);
    assert.deepEqual(watch.ask(WAVE, run, at(2)), {
      verdict: { state: 'wait', nextAt: at(30) },
      nextAt: at(30),
    });
    assert.deepEqual(watch.ask(WAVE, run, at(3)), { nextAt: at(30) });
    assert.equal(asked.length, 1, 'nothing is due before');
    watch.ask(WAVE, run, at(30));
    assert.deepEqual([asked.length, asked[1]?.now], [2, at(30)]);
  });

  it('measures anew after a person’s word on a wave that had been stopped', async () => {
    const watch = createGateWatch();
    const { run, asked } = gates();
    watch.ask(WAVE, run, NOW);
    const pending = watch.pending();
    asked[0]?.answer({ state: 'pause', cause: { code: 'gate_inconclusive', message: 'no data' } });
    await Promise.all(pending);
    assert.equal(watch.ask(WAVE, run, at(1)).verdict?.state, 'pause');
    watch.ask(WAVE, run, at(3_600));
    assert.equal(asked.length, 1, 'it is stopped');
    watch.ask({ ...WAVE, version: 2 }, run, at(3_601));
    assert.equal(asked.length, 2);
  });

  it('measures anew what has come into another state, and no more what has nothing to wait for', async () => {
    const watch = createGateWatch();
    const { run, asked } = gates();
    const answer = async (verdict: Verdict): Promise<void> => {
      const pending = watch.pending();
      asked.at(-1)?.answer(verdict);
      await Promise.all(pending);
    };
    watch.ask(WAVE, run, NOW);
    await answer({ state: 'go' });
    assert.equal(watch.ask(WAVE, run, NOW).verdict?.state, 'go');
    assert.deepEqual(watch.ask(WAVE, run, at(3_600)), {});
    assert.equal(asked.length, 1);
    const baking: WatchedWave = { ...WAVE, state: 'baking', doneAt: at(5) };
    watch.ask(baking, run, at(5));
    assert.equal(asked.length, 2);
    await answer({ state: 'wait' });
    watch.ask(baking, run, at(6));
    assert.deepEqual(watch.ask(baking, run, at(7)), { nextAt: at(35) }, 'half a minute where nobody says');
    watch.ask({ ...WAVE, ordinal: 1 }, run, at(8));
    assert.equal(asked.length, 3, 'each wave has its own');
  });

  it('measures sooner what a target was asked in vain, also while it measures', async () => {
    const watch = createGateWatch();
    const { run, asked } = gates();
    watch.measureBy(0, at(10));
    assert.equal(asked.length, 0);
    watch.ask(WAVE, run, NOW);
    watch.measureBy(0, at(10));
    watch.measureBy(0, at(20));
    const pending = watch.pending();
    asked[0]?.answer({ state: 'go' });
    await Promise.all(pending);
    assert.deepEqual(watch.ask(WAVE, run, NOW), { verdict: { state: 'go' }, nextAt: at(10) });
    watch.measureBy(0, at(5));
    assert.deepEqual(watch.ask(WAVE, run, at(4)), { nextAt: at(5) });
    watch.ask(WAVE, run, at(5));
    assert.equal(asked.length, 2);
  });

  it('throws what a measurement has thrown', async () => {
    const watch = createGateWatch();
    const { run, asked } = gates();
    watch.ask(WAVE, run, NOW);
    const pending = watch.pending();
    asked[0]?.fail(new Error('lost'));
    await Promise.all(pending);
    assert.throws(() => watch.throwIfBroken(), { message: 'lost' });
  });
});
