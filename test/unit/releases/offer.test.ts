import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { RenderedMigration } from '../../../contract/release.ts';
import { refuseGap, takeOffer, type Offer, type OfferRules } from '../../../control-plane/releases/offer.ts';
import { migrationChecksum, type Migration } from '../../../control-plane/releases/release.ts';
import { wayBack } from '../../../control-plane/releases/way-back.ts';
import { FleetError } from '../../../platform/errors.ts';

const RUNS = { numRuns: 1_000, seed: 20_261_121 };

function offer(names: readonly string[]): RenderedMigration[] {
  return names.map((name) => ({
    ...{ name, file: `${name}.sql`, upSql: `SELECT '${name}'`, downSql: null, phase: 'expand' },
    ...{ transactional: true, lockTimeoutMs: null, statementTimeoutMs: null },
  }));
}

/** What publishing the offer makes of the list. */
function append(
  published: readonly Migration[],
  { fresh, late }: Pick<Offer, 'fresh' | 'late'>,
): Migration[] {
  const added = fresh.map(({ file: _file, upLine: _up, downLine: _down, ...fields }, index) => ({
    ...{ ...fields, ordinal: published.length + index + 1, statements: null },
    ...{ checksum: migrationChecksum(fields.upSql, fields.downSql), outOfOrder: late.has(fields.name) },
  }));
  return [...published, ...added];
}

const list = (names: readonly string[]): Migration[] => append([], { fresh: offer(names), late: new Set() });
const namesOf = (migrations: readonly { name: string }[]): string[] => migrations.map(({ name }) => name);

function refused(published: Migration[], given: string[], rules?: OfferRules): FleetError | undefined {
  try {
    refuseGap(published, takeOffer(published, offer(given), rules).known);
    return undefined;
  } catch (error) {
    assert(error instanceof FleetError, String(error));
    return error;
  }
}

const Names = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,3}$/), { maxLength: 8 });

/** A few a time: what is checked is their order. */
const Few = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,3}$/), { maxLength: 3 });

describe('a folder held against the published list', () => {
  it('is taken exactly where it continues the list', () => {
    fc.assert(
      fc.property(Names, Names, (known, given) => {
        const continues = known.every((name, index) => given[index] === name);
        const code = refused(list(known), given)?.code;
        assert.equal(code, continues ? undefined : 'migration_out_of_order');
      }),
      RUNS,
    );
  });

  it('is refused for an edit of any published migration, whatever follows and is allowed', () => {
    fc.assert(
      fc.property(Names, Names, fc.nat(), fc.boolean(), (known, more, at, inDown) => {
        fc.pre(known.length > 0);
        const given = offer([...new Set([...known, ...more])]);
        const edited = given[at % known.length];
        assert(edited !== undefined);
        if (inDown) edited.downSql = 'SELECT 1';
        else edited.upSql += ' ';
        assert.throws(() => takeOffer(list(known), given, { allowOutOfOrder: true }), {
          code: 'migration_edited',
        });
      }),
      RUNS,
    );
  });

  it('may have new ones between published ones where that is allowed, and nothing else', () => {
    fc.assert(
      fc.property(Names, Names, (known, given) => {
        const kept = given.filter((name) => known.includes(name));
        const continues = JSON.stringify(kept) === JSON.stringify(known);
        const code = refused(list(known), given, { allowOutOfOrder: true })?.code;
        assert.equal(code, continues ? undefined : 'migration_out_of_order');
      }),
      RUNS,
    );
  });

  it('may grow anywhere again and again: the list grows at its end, and the next plain publish is taken', () => {
    fc.assert(
      fc.property(fc.array(Few, { minLength: 1, maxLength: 4 }), (additions) => {
        let published: Migration[] = [];
        const folder = new Set<string>();
        for (const addition of additions) {
          for (const name of addition) folder.add(name);
          const sorted = [...folder].toSorted();
          const before = namesOf(published);
          const late = sorted.filter(
            (name) => !before.includes(name) && before.some((known) => known > name),
          );
          assert.equal(refused(published, sorted) === undefined, late.length === 0);
          const taken = takeOffer(published, offer(sorted), { allowOutOfOrder: true });
          assert.deepEqual([...taken.late], late);
          published = append(published, taken);
          assert.deepEqual(namesOf(published).slice(0, before.length), before);
          assert.deepEqual(namesOf(published).toSorted(), sorted);
          // The same again, and one more at the end, need no word.
          assert.equal(takeOffer(published, offer(sorted)).fresh.length, 0);
          assert.deepEqual(namesOf(takeOffer(published, offer([...sorted, 'zzzz'])).fresh), ['zzzz']);
        }
      }),
      RUNS,
    );
  });

  it('is held by its first part of the list, not of the folder, where it ends early', () => {
    const published = append(list(['a', 'c']), { fresh: offer(['b', 'd']), late: new Set(['b']) });
    assert.equal(takeOffer(published, offer(['a', 'c'])).known, 2);
    assert.equal(takeOffer(published, offer(['a', 'b', 'c'])).known, 3);
    assert.match(refused(published, ['a', 'b'])?.message ?? '', /^c is published .* not in the folder/);
    assert.match(refused(published, ['a', 'b', 'c', 'e'])?.message ?? '', /^d is published/);
  });

  it('names the releases that can be withdrawn, as long as nobody has or is born with what goes', () => {
    const releases = [
      { name: 'r1', headOrdinal: 1 },
      { name: 'r2', headOrdinal: 3 },
      { name: 'r3', headOrdinal: 4 },
    ];
    const held = (ordinal: number) => [{ ordinal, databases: 1, tenants: ['some'] }];
    const way = (ordinal: number, more: object = {}) =>
      wayBack({ holders: held(1), releases, bornAt: 1, ...more }, ordinal);
    assert.match(way(4) ?? '', /withdraw r3 \(/);
    assert.match(way(3) ?? '', /withdraw r3, then r2 \(/);
    assert.equal(way(3, { holders: held(2) }), undefined, 'what is before it in its release is had');
    assert.equal(way(3, { bornAt: 3 }), undefined);
    assert.equal(way(1), undefined);
    const edited = refused(list(['a', 'b']), ['b'], { wayBack: () => 'a way' });
    assert.match(edited?.fix ?? '', /; or, a way$/);
  });

  it('is refused with files, checksums and the tenants that it is about', () => {
    const published = list(['a', 'b', 'c']);
    const holders = [
      { ordinal: 1, databases: 9, tenants: ['early'] },
      { ordinal: 2, databases: 1, tenants: ['some'] },
      { ordinal: 3, databases: 7, tenants: ['t1', 't2', 't3', 't4', 't5'] },
    ];
    const checksum = migrationChecksum("SELECT 'b'", null);
    const missing = refused(published, ['a', 'c'], { holders });
    assert.equal(
      missing?.message,
      `b is published with checksum ${checksum}, but it is not in the folder; applied to some, t1, t2, t3, t4, and 3 more`,
    );
    const late = refused(published, ['a', 'aa', 'b', 'bb', 'c'], { holders });
    assert.match(late?.message ?? '', /^aa stands before b, .* already \(and 1 more\); applied to some/);
    assert.match(late?.fix ?? '', /--allow-out-of-order/);
    assert.deepEqual(
      late?.errors?.map(({ path }) => path),
      ['aa.sql', 'bb.sql'],
    );
    const own = migrationChecksum("SELECT 'aa'", null);
    assert.match(
      late?.errors?.[0]?.message ?? '',
      new RegExp(`^new, with checksum ${own}, .*${checksum}; applied`),
    );
  });
});
