import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DRIFT_CHECK_STATES } from '../../../contract/drift.ts';
import {
  compareFingerprint,
  countLooks,
  NO_COUNTS,
  schemaDrifted,
  transitionCheck,
  type DriftCheckEvent,
  type Look,
} from '../../../control-plane/drift/drift.ts';
import { describeSchema } from '../../../control-plane/releases/schema.ts';

const ROLES = { ownerRole: 'o', rwRole: 'rw', logins: [] };
const schemaOf = (...columns: string[]) =>
  describeSchema(
    columns.map((name) => ({ object: 'table public.t', rank: 2, part: `column ${name} int` })),
    ROLES,
  );

describe('comparing a schema with its reference', () => {
  const expected = schemaOf('a');

  it('finds the same, a drift, and one that was accepted', () => {
    assert.deepEqual(compareFingerprint(schemaOf('a'), expected, null), {
      ...{ verdict: 'same', diff: '', changes: [], difference: null },
    });
    const drifted = compareFingerprint(schemaOf('a', 'b'), expected, null);
    assert.deepEqual([drifted.verdict, drifted.changes], ['drifted', ['~ t: + column b int']]);
    const accepted = compareFingerprint(schemaOf('a', 'b'), expected, drifted.difference);
    assert.equal(accepted.verdict, 'accepted');
    const other = compareFingerprint(schemaOf('a', 'c'), expected, drifted.difference);
    assert.equal(other.verdict, 'drifted');
  });

  it('accepts nothing but just that difference, whatever the two schemas', () => {
    const columns = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1 });
    fc.assert(
      fc.property(columns, columns, columns, (reference, first, second) => {
        const one = compareFingerprint(schemaOf(...first), schemaOf(...reference), null);
        const two = compareFingerprint(schemaOf(...second), schemaOf(...reference), one.difference);
        const equal = schemaOf(...first).fingerprint === schemaOf(...second).fingerprint;
        if (two.verdict === 'accepted') assert.ok(equal);
        if (equal) assert.notEqual(two.verdict, 'drifted');
      }),
      { numRuns: 1_000, seed: 12 },
    );
  });

  it('tells the first changes in the refusal, and how to go on', () => {
    const error = schemaDrifted('acme', ['one', 'two', 'three', 'four']);
    assert.deepEqual([error.code, error.status], ['schema_drifted', 409]);
    assert.match(error.message, /acme .*: one; two; three and 1 more$/);
    assert.match(error.fix ?? '', /fleet drift list --tenant acme --diff.*fleet drift accept acme/);
  });
});

describe('a drift check', () => {
  it('ends once and stays ended, in any order of events', () => {
    const events = fc.array(fc.constantFrom<DriftCheckEvent[]>('start', 'succeed', 'fail'), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(events, (sequence) => {
        let state: (typeof DRIFT_CHECK_STATES)[number] = 'queued';
        for (const event of sequence) {
          const ended = state === 'succeeded' || state === 'failed';
          const next = transitionCheck(state, event);
          assert.ok(next === undefined || DRIFT_CHECK_STATES.includes(next));
          assert.ok(!ended || next === undefined);
          assert.ok(next !== 'succeeded' || state === 'running');
          state = next ?? state;
        }
      }),
      { numRuns: 1_000, seed: 12 },
    );
  });

  it('counts what was read, what was not, and what is being migrated', () => {
    const place = { databaseId: 'd', tenant: 't', region: 'eu' };
    const comparison = compareFingerprint(schemaOf('b'), schemaOf('a'), null);
    const looks: Look[] = [
      { ...place, schemaVersion: null, fingerprint: 'f', expected: 'e', comparison, stamp: null },
      { ...place, error: null },
      { ...place, error: { code: 'c', message: 'm' } },
    ];
    const counts = countLooks({ ...NO_COUNTS, same: 4 }, looks);
    assert.deepEqual(counts, { same: 4, drifted: 1, accepted: 0, busy: 1, unread: 1 });
  });
});
