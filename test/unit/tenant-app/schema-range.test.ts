import assert from 'node:assert/strict';
import { schemaFit } from '../../../tenant-app/routing/schema-range.ts';

const ordinals = new Map(['001_a', '002_b', '003_c', '004_d'].map((name, index) => [name, index + 1]));
const fit = (range: { min?: string; max?: string }, schema: string | null) =>
  schemaFit(range, schema, (name) => ordinals.get(name));

describe('range of schemas that an app works with', () => {
  it('goes by the order of published migrations, its bounds included', () => {
    const range = { min: '002_b', max: '003_c' };
    assert.deepEqual(
      [null, '001_a', '002_b', '003_c', '004_d'].map((schema) => fit(range, schema)),
      ['behind', 'behind', 'fits', 'fits', 'ahead'],
    );
  });

  it('is open on the side that is not named', () => {
    assert.equal(fit({ min: '002_b' }, '004_d'), 'fits');
    assert.equal(fit({ max: '002_b' }, null), 'fits');
    assert.equal(fit({}, null), 'fits');
  });

  it('takes a bound that is not published for one that comes after all others', () => {
    assert.equal(fit({ min: '005_e' }, '004_d'), 'behind');
    assert.equal(fit({ max: '005_e' }, '004_d'), 'fits');
  });

  it('says nothing of a schema that was never published, beside what is its own name', () => {
    assert.equal(fit({ min: '002_b', max: '003_c' }, 'adopted'), 'fits');
    assert.equal(fit({ min: '005_e' }, '005_e'), 'fits');
  });
});
