import assert from 'node:assert/strict';
import fc from 'fast-check';
import { compareMigrationFileNames } from 'node-pg-migrate/utils/comparators';
import { orderUnits } from '../../../fleet-cli/release/order.ts';
import { FleetError } from '../../../platform/errors.ts';

const names = (files: string[]): string[] => orderUnits(files).map(({ name }) => name);

describe('the order of migrations', () => {
  it('is node-pg-migrate’s', () => {
    const prefix = fc.oneof(
      fc.nat({ max: 30 }).map(String),
      fc.nat({ max: 30 }).map((number) => String(number).padStart(4, '0')),
      fc.constantFrom('1700000000000', '20231114221320000', '20231114221320001', '20240101000000000'),
    );
    const rest = fc.stringMatching(/^[_-][a-zA-Z0-9_ -]{0,5}$/);
    const file = fc
      .tuple(prefix, rest, fc.constantFrom('.sql', '.ts', '.js', '.mjs', '.cjs'))
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(
        fc.uniqueArray(file, { maxLength: 10, selector: (name) => name.slice(0, name.lastIndexOf('.')) }),
        (files) => {
          const expected = files.toSorted((a, b) => compareMigrationFileNames(a, b));
          assert.deepEqual(
            orderUnits(files).map((unit) => unit.file),
            expected,
          );
        },
      ),
      { numRuns: 2_000, seed: 20_261_121 },
    );
  });

  it('pairs up and down files under the name they would have as one', () => {
    assert.deepEqual(orderUnits(['000002_b.up.sql', '000001_a.down.sql', '000001_a.up.sql']), [
      { name: '000001_a', kind: 'pair', file: '000001_a.up.sql', downFile: '000001_a.down.sql' },
      { name: '000002_b', kind: 'pair', file: '000002_b.up.sql' },
    ]);
  });

  it('is by version for Flyway names', () => {
    assert.deepEqual(
      names(['V10__c.sql', 'V1.2__b.sql', 'U1.2__b.sql', 'V1_1__a.sql', 'V1__z.sql', 'V2__bb.sql']),
      ['V1__z', 'V1_1__a', 'V1.2__b', 'V2__bb', 'V10__c'],
    );
  });

  it('passes over what is no migration', () => {
    assert.deepEqual(names(['README.md', '1_a.sql', 'types.d.ts', 'tsconfig.json']), ['1_a']);
  });

  for (const files of [
    ['add_table.sql'],
    ['1_a.sql', '1_a.ts'],
    ['1_a.sql', '1_a.down.sql'],
    ['1_a.down.sql'],
    ['V1__a.sql', '2_b.sql'],
    ['V1__a.sql', 'V1__b.sql'],
    ['U1__a.sql'],
    ['V1__a.sql', 'R__views.sql'],
  ]) {
    it(`refuses ${files.join(', ')}`, () => {
      assert.throws(
        () => orderUnits(files),
        (error: unknown) => error instanceof FleetError && error.code === 'migration_invalid',
      );
    });
  }
});
