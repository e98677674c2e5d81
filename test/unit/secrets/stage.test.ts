import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  transitionStage,
  type SecretEvent,
  type SecretStage,
} from '../../../control-plane/secrets/secret.ts';

describe('secret stages', () => {
  const events = fc.constantFrom<SecretEvent>('promote', 'supersede', 'retire', 'revive');

  it('never go back from current, and a refused event changes nothing', () => {
    const order: SecretStage[] = ['pending', 'current', 'previous', 'retired'];
    fc.assert(
      fc.property(fc.array(events, { maxLength: 20 }), (script) => {
        let stage: SecretStage = 'pending';
        for (const event of script) {
          const next = transitionStage(stage, event);
          if (next === undefined) continue;
          assert.ok(
            event === 'revive'
              ? stage === 'retired' && next === 'pending'
              : order.indexOf(next) > order.indexOf(stage),
          );
          stage = next;
        }
      }),
      { numRuns: 1_000, seed: 7 },
    );
  });
});
