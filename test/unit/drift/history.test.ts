import assert from 'node:assert/strict';
import { differencesOfHistory } from '../../../control-plane/drift/compare.ts';

const PUBLISHED = ['a', 'b', 'c', 'd'].map((name, index) => ({
  ...{ name, ordinal: index + 1 },
  checksum: `of ${name}`,
}));

describe('the record of migrations of a database', () => {
  const cases: [string, string[], [string, string][], string[]][] = [
    ['that has all', ['a', 'b', 'c', 'd'], [['a', 'of a']], []],
    ['that ends earlier', ['a', 'b'], [], []],
    ['that is empty', [], [], []],
    [
      'with an edit',
      ['a', 'b'],
      [['b', 'x']],
      ['migration b was applied with checksum x, published with of b'],
    ],
    ['with one that is gone', ['a', 'c'], [], ['migration b is not recorded, later ones are']],
    ['of the first of all gone', ['b'], [], ['migration a is not recorded, later ones are']],
    ['in another order', ['b', 'a', 'c'], [], ['migration a was applied after b, published before it']],
    ['with a stranger', ['a', 'x', 'b'], [['x', 'y']], ['migration x was never published']],
    [
      'of which all is wrong',
      ['c', 'x', 'a'],
      [['a', '1']],
      [
        'migration b is not recorded, later ones are',
        'migration x was never published',
        'migration a was applied with checksum 1, published with of a',
        'migration a was applied after c, published before it',
      ],
    ],
  ];
  for (const [what, applied, checksums, differences] of cases) {
    it(`${what}: ${differences.length === 0 ? 'is as published' : 'is told apart'}`, () => {
      assert.deepEqual(
        differencesOfHistory({ applied, checksums: new Map(checksums) }, PUBLISHED),
        differences,
      );
    });
  }
});
