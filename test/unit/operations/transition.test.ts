import assert from 'node:assert/strict';
import fc from 'fast-check';
import { OPERATION_STATES } from '../../../contract/operation.ts';
import {
  operationSources,
  transitionOperation,
  type OperationEvent,
} from '../../../control-plane/operations/state.ts';

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

  it('lets an event start from exactly the states that its updates expect', () => {
    fc.assert(
      fc.property(anyState, anyEvent, (state, event) => {
        const allowed = transitionOperation(state, event) !== undefined;
        assert.equal(operationSources(event).includes(state), allowed);
      }),
      RUNS,
    );
  });

  it('leads to one state from wherever an event that is written in batches may start', () => {
    for (const event of ['start', 'retry'] as const) {
      const next = new Set(operationSources(event).map((state) => transitionOperation(state, event)));
      assert.equal(next.size, 1);
    }
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
