import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ROLLOUT_STATES, TARGET_STATES, WAVE_STATES } from '../../../contract/rollout.ts';
import {
  ACTIVE_STATES,
  ROLLOUT_EVENTS,
  rolloutSources,
  TARGET_EVENTS,
  targetAfter,
  targetSources,
  TERMINAL_STATES,
  transitionRollout,
  transitionTarget,
  transitionWave,
  WAVE_EVENTS,
} from '../../../control-plane/rollouts/rollout.ts';

const GOING_ON = ['start', 'approve', 'resume', 'promote', 'retry'];
const RUNS = { numRuns: 1_000, seed: 20261121 };
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

  it('leaves an end only by undo, and a halt only by a person', () => {
    fc.assert(
      fc.property(events, (given) => {
        walk('planned', given, transitionRollout, ({ state, event, next }) => {
          if (TERMINAL_STATES.includes(state)) assert.equal(event, 'undo');
          if (state === 'halted') assert.ok(['retry', 'promote', 'abort', 'undo'].includes(event));
          if (next === 'running') assert.ok(GOING_ON.includes(event));
          const resting = [...ACTIVE_STATES, ...TERMINAL_STATES];
          if (!resting.includes(state)) assert.ok(state === 'planned' || state === 'undoing');
          if (state === 'undoing') assert.ok(event === 'undone' || event === 'forsake');
        });
      }),
      RUNS,
    );
  });

  it('names as sources of an event exactly the states that allow it', () => {
    for (const event of ROLLOUT_EVENTS) {
      for (const state of ROLLOUT_STATES) {
        assert.equal(rolloutSources(event).includes(state), transitionRollout(state, event) !== undefined);
      }
    }
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

describe('the waves of a rollout that is aborted', () => {
  it('are ended where they are open, and left alone where they were not begun or are through', () => {
    const left = ['pending', 'passed', 'failed'];
    for (const state of WAVE_STATES) {
      assert.equal(transitionWave(state, 'fail'), left.includes(state) ? undefined : 'failed', state);
    }
  });
});

describe('target states', () => {
  it('verifies or fails only what was claimed, and runs nothing unknown without a claim', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...TARGET_EVENTS), { maxLength: 60 }), (given) => {
        let claimed = false;
        walk('pending', given, transitionTarget, ({ state, event, next }) => {
          if (event === 'claim') claimed = true;
          if (['verified', 'failed', 'unknown'].includes(next)) assert.ok(claimed);
          if (state === 'undone') assert.fail('undone was left');
          if (next === 'running') assert.equal(event, 'claim');
          if (state === 'verified') assert.ok(event === 'join' || event === 'undo');
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
