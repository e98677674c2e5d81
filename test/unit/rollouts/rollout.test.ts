import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ROLLOUT_STATES, TARGET_STATES, WAVE_STATES } from '../../../contract/rollout.ts';
import {
  ACTIVE_STATES,
  targetAfter,
  targetSources,
  TERMINAL_STATES,
  transitionRollout,
  transitionTarget,
  transitionWave,
  type RolloutEvent,
  type TargetEvent,
  type WaveEvent,
} from '../../../control-plane/rollouts/rollout.ts';

const RUNS = { numRuns: 1_000, seed: 20261121 };
const ROLLOUT_EVENTS: RolloutEvent[] = ['start', 'pause', 'resume', 'halt', 'retry', 'abort', 'succeed'];
const WAVE_EVENTS: WaveEvent[] = ['start', 'bake', 'pass', 'fail', 'reopen'];
const TARGET_EVENTS: TargetEvent[] = [
  'claim',
  'verify',
  'fail',
  'lose',
  'orphan',
  'requeue',
  'retry',
  'defer',
  'skip',
  'join',
];

/** Walks a machine with any events and shows each step that it takes. */
function walk<S, E>(
  from: S,
  events: E[],
  transition: (state: S, event: E) => S | undefined,
  look: (step: { state: S; event: E; next: S }) => void,
): void {
  let state = from;
  for (const event of events) {
    const next = transition(state, event);
    if (next === undefined) continue;
    look({ state, event, next });
    state = next;
  }
}

describe('rollout states', () => {
  const events = fc.array(fc.constantFrom(...ROLLOUT_EVENTS), { maxLength: 40 });

  it('answers every state and event with a state or nothing', () => {
    fc.assert(
      fc.property(fc.constantFrom(...ROLLOUT_STATES), fc.constantFrom(...ROLLOUT_EVENTS), (state, event) => {
        const next = transitionRollout(state, event);
        assert.ok(next === undefined || (ROLLOUT_STATES.includes(next) && next !== state));
      }),
      RUNS,
    );
  });

  it('never leaves an end, and leaves a halt only by retry or abort', () => {
    fc.assert(
      fc.property(events, (given) => {
        walk('planned', given, transitionRollout, ({ state, event, next }) => {
          assert.ok(!TERMINAL_STATES.includes(state), `${state} was left by ${event}`);
          if (state === 'halted') assert.ok(event === 'retry' || event === 'abort');
          if (next === 'running') assert.ok(['start', 'resume', 'retry'].includes(event));
          if (!ACTIVE_STATES.includes(state)) assert.equal(state, 'planned');
        });
      }),
      RUNS,
    );
  });

  it('succeeds only from running, or from a plan with nothing to do', () => {
    fc.assert(
      fc.property(events, (given) => {
        walk('planned', given, transitionRollout, ({ state, next }) => {
          if (next === 'succeeded') assert.ok(state === 'running' || state === 'planned');
        });
      }),
      RUNS,
    );
  });
});

describe('wave states', () => {
  it('never passes a wave that has not run, and reopens only what was open before', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...WAVE_EVENTS), { maxLength: 40 }), (given) => {
        let started = false;
        walk('pending', given, transitionWave, ({ event, next }) => {
          if (event === 'start') started = true;
          assert.ok(started, `${event} before start`);
          assert.ok(WAVE_STATES.includes(next) && next !== 'pending');
        });
      }),
      RUNS,
    );
  });
});

describe('target states', () => {
  it('verifies or fails only what was claimed, and runs nothing unknown without a claim', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...TARGET_EVENTS), { maxLength: 60 }), (given) => {
        let claimed = false;
        walk('pending', given, transitionTarget, ({ state, event, next }) => {
          if (event === 'claim') claimed = true;
          if (['verified', 'failed', 'unreachable', 'unknown'].includes(next)) assert.ok(claimed);
          if (next === 'running') assert.equal(event, 'claim');
          if (state === 'verified') assert.equal(event, 'join');
          if (state === 'unknown') assert.ok(['claim', 'verify', 'lose', 'requeue', 'skip'].includes(event));
        });
      }),
      RUNS,
    );
  });

  it('names as sources of an event exactly the states that allow it', () => {
    fc.assert(
      fc.property(fc.constantFrom(...TARGET_STATES), fc.constantFrom(...TARGET_EVENTS), (state, event) => {
        assert.equal(targetSources(event).includes(state), transitionTarget(state, event) !== undefined);
      }),
      RUNS,
    );
  });

  it('leads to one state from wherever an event may start', () => {
    fc.assert(
      fc.property(fc.constantFrom(...TARGET_EVENTS), (event) => {
        for (const state of targetSources(event)) {
          assert.equal(transitionTarget(state, event), targetAfter(event));
        }
      }),
      RUNS,
    );
  });
});
