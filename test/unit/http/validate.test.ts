import assert from 'node:assert/strict';
import fc from 'fast-check';
import { z } from 'zod';
import { decodeCursor, encodeCursor } from '../../../control-plane/http/cursor.ts';
import { parseIfMatch, strictQuery, validate } from '../../../control-plane/http/validate.ts';
import { FleetError } from '../../../platform/errors.ts';

describe('validation', () => {
  it('passes on what the schemas make of the values', () => {
    const parts = [
      { name: 'query', schema: z.object({ limit: z.coerce.number().default(100) }), value: {} },
      { name: 'body', schema: undefined, value: { any: 1 } },
    ];
    assert.deepEqual(validate(parts), [{ limit: 100 }, undefined]);
  });

  it('throws a FleetError or nothing, whatever it is given', () => {
    const schema = z.strictObject({ a: z.record(z.string(), z.string()).optional() });
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true }), (value) => {
        try {
          validate([{ name: 'body', schema, value }]);
        } catch (error) {
          assert.ok(error instanceof FleetError && error.status === 422);
          assert.ok((error.errors ?? []).length > 0);
        }
      }),
      { numRuns: 1_000, seed: 7 },
    );
  });

  it('makes a query strict, and one without schema empty', () => {
    assert.equal(strictQuery(undefined).safeParse({ a: '1' }).success, false);
    assert.equal(strictQuery(z.object({ b: z.string().optional() })).safeParse({ a: '1' }).success, false);
    assert.equal(strictQuery(z.object({ a: z.string() })).safeParse({ a: '1' }).success, true);
  });

  it('reads If-Match', () => {
    assert.equal(parseIfMatch(undefined), undefined);
    assert.equal(parseIfMatch('"12"'), 12);
    assert.throws(() => parseIfMatch('"12345678901"'), FleetError);
  });
});

describe('cursor', () => {
  const Position = z.object({ createdAt: z.string(), id: z.string() });

  it('comes back as it was', () => {
    fc.assert(
      fc.property(
        fc.record({ createdAt: fc.string(), id: fc.string() }, { noNullPrototype: true }),
        (position) => {
          assert.deepEqual(decodeCursor(encodeCursor(position), Position), position);
        },
      ),
      { numRuns: 1_000, seed: 7 },
    );
    assert.equal(decodeCursor(undefined, Position), undefined);
  });

  it('is refused when it is not ours', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        assert.throws(
          () => decodeCursor(text, Position),
          (error) => error instanceof FleetError && error.code === 'invalid_cursor',
        );
      }),
      { numRuns: 1_000, seed: 7 },
    );
  });
});
