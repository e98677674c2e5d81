import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { open, seal, UnsealError } from '../../../platform/sealing.ts';

describe('sealing', () => {
  const key = randomBytes(32);
  const plain = Buffer.from('the value');
  const bound = ['value', 'tenant:1', 'database:1', 'v1'];

  function reasonOf(sealed: Buffer, withKey = key, withBound = bound): string {
    try {
      open(withKey, sealed, withBound);
      return 'opened';
    } catch (error) {
      if (!(error instanceof UnsealError)) throw error;
      return error.reason;
    }
  }

  it('opens what it has sealed, whatever it is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.string()), (bytes, parts) => {
        const sealed = seal(key, Buffer.from(bytes), parts);
        assert.deepEqual(open(key, sealed, parts), Buffer.from(bytes));
      }),
      { seed: 7 },
    );
  });

  it('tells another key, another place, missing bytes and changed bytes apart', () => {
    const sealed = seal(key, plain, bound);
    assert.equal(reasonOf(sealed), 'opened');
    assert.equal(reasonOf(sealed, randomBytes(32)), 'wrong_key');
    assert.equal(reasonOf(sealed, key, ['value', 'tenant:2', 'database:1', 'v1']), 'swapped');
    assert.equal(reasonOf(Buffer.concat([sealed, Buffer.alloc(1)])), 'tampered');
    for (let length = 0; length < sealed.length; length += 1) {
      assert.equal(reasonOf(sealed.subarray(0, length)), 'truncated', `cut to ${length}`);
    }
  });

  it('keeps the borders between bound parts', () => {
    const sealed = seal(key, plain, ['ab', 'c']);
    assert.equal(reasonOf(sealed, key, ['a', 'bc']), 'swapped');
    assert.equal(reasonOf(sealed, key, ['abc']), 'swapped');
  });

  it('refuses every flipped bit', () => {
    const sealed = seal(key, plain, bound);
    for (let at = 0; at < sealed.length; at += 1) {
      for (const mask of [1, 2, 4, 8, 16, 32, 64, 128]) {
        const changed = Buffer.from(sealed);
        changed[at] = (changed[at] ?? 0) ^ mask;
        assert.notEqual(reasonOf(changed), 'opened', `byte ${at}, mask ${mask}`);
      }
    }
  });

  it('refuses a format or an algorithm that it does not know, and tries nothing else', () => {
    const sealed = seal(key, plain, bound);
    for (const [at, value] of [
      [0, 0x66],
      [3, 0x33],
      [4, 2],
    ] as const) {
      const other = Buffer.from(sealed);
      other[at] = value;
      assert.equal(reasonOf(other), 'unknown_format');
    }
    assert.equal(reasonOf(plain), 'unknown_format');
  });
});
