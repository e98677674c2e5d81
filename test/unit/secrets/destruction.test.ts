import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  transitionDestruction,
  type DestructionEvent,
  type DestructionState,
} from '../../../control-plane/secrets/destruction.ts';

describe('the destruction of a key', () => {
  const events = fc.constantFrom<DestructionEvent>('request', 'told', 'keep', 'end');

  it('ends only where nobody has kept the key since the store was told, and is never taken back', () => {
    fc.assert(
      fc.property(fc.array(events, { maxLength: 30 }), (script) => {
        let state: DestructionState = 'requested';
        for (const event of script) {
          const next = transitionDestruction(state, event);
          if (next === undefined) continue;
          assert.notEqual(state, 'destroyed');
          if (next === 'destroyed') assert.ok(state === 'scheduled' || state === 'keeping');
          if (next === 'kept') assert.equal(state, 'keeping');
          if (next === 'scheduled') assert.equal(state, 'requested');
          state = next;
        }
      }),
      { numRuns: 1_000, seed: 7 },
    );
  });
});
