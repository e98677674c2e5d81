import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  canonicalJson,
  entryHash,
  findBreak,
  type ChainedEntry,
} from '../../../control-plane/audit/audit.ts';

const GENESIS = { seq: 0, hash: '0'.repeat(64) };

/** The same value with its members in another order, as jsonb gives them back. */
function reordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reordered);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).map(([key, item]) => [key, reordered(item)] as const);
  return Object.fromEntries(members.reverse());
}

function chain(details: unknown[]): ChainedEntry[] {
  const entries: ChainedEntry[] = [];
  for (const [index, after] of details.entries()) {
    const fields = {
      seq: index + 1,
      at: '2026-01-01T00:00:00.000Z',
      actor: 'alice',
      actorRole: 'admin',
      action: 'a',
      resource: 'tenant:acme',
      region: null,
      before: null,
      after,
      reason: null,
      requestId: null,
      prevHash: entries.at(-1)?.hash ?? GENESIS.hash,
    };
    entries.push({ ...fields, hash: entryHash(fields) });
  }
  return entries;
}

describe('canonical JSON', () => {
  it('is the same whatever the order of members, and after a way through JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        assert.equal(canonicalJson(reordered(value)), canonicalJson(value));
        assert.equal(canonicalJson(JSON.parse(JSON.stringify(value))), canonicalJson(value));
        assert.deepEqual(JSON.parse(canonicalJson(value)), JSON.parse(JSON.stringify(value)));
      }),
      { numRuns: 1_000, seed: 11 },
    );
    assert.equal(canonicalJson({ b: undefined, a: [undefined] }), '{"a":[null]}');
  });
});

describe('chain', () => {
  const details = fc.array(fc.jsonValue(), { minLength: 2, maxLength: 8 });

  it('has no break as it was written, and one at any entry that was changed, removed or moved', () => {
    fc.assert(
      fc.property(details, fc.nat(), fc.constantFrom('change', 'remove', 'swap'), (values, at, how) => {
        const entries = chain(values);
        assert.equal(findBreak(entries, GENESIS), undefined);
        // The last one's removal shows only against the head.
        const index = at % (entries.length - 1);
        const [first, second] = entries.slice(index, index + 2);
        assert.ok(first !== undefined && second !== undefined);
        if (how === 'change') entries[index] = { ...first, actor: 'mallory' };
        else if (how === 'remove') entries.splice(index, 1);
        else entries.splice(index, 2, second, first);
        const seq = how === 'change' ? first.seq : second.seq;
        assert.equal(findBreak(entries, GENESIS)?.seq, seq);
      }),
      { numRuns: 1_000, seed: 11 },
    );
  });
});
