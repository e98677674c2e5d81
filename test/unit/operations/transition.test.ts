import assert from 'node:assert/strict';
import fc from 'fast-check';
import { OPERATION_STATES } from '../../../contract/operation.ts';
import { transitionOperation, type OperationEvent } from '../../../control-plane/operations/operation.ts';

const EVENTS: OperationEvent[] = ['start', 'succeed', 'fail', 'cancel', 'retry'];
const RUNS = { numRuns: 1_000, seed: 20261121 };

describe('operation states', () => {
  const anyState = fc.constantFrom(...OPERATION_STATES);
  const anyEvent = fc.constantFrom(...EVENTS);

  it('has an answer for every state and event, and it is a state or nothing', () => {
    fc.assert(
      fc.property(anyState, anyEvent, (state, event) => {
        const next = transitionOperation(state, event);
        assert.ok(next === undefined || OPERATION_STATES.includes(next));
      }),
      RUNS,
    );
  });

  it('never leaves success, and leaves failure only by a retry', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 40 }), (events) => {
        let state = transitionOperation('queued', 'start') ?? 'queued';
        for (const event of events) {
          const next = transitionOperation(state, event);
          if (next === undefined) continue;
          assert.notEqual(state, 'succeeded');
          if (state === 'failed' || state === 'cancelled') assert.equal(event, 'retry');
          if (next === 'succeeded') assert.equal(state, 'running');
          state = next;
        }
      }),
      RUNS,
    );
  });
});
