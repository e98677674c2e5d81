import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AppVersion } from '../../../contract/app.ts';
import { isBelow } from '../../../control-plane/apps/version.ts';

const RUNS = { numRuns: 1_000, seed: 20_261_121 };
/** As semver.org has them, section 11, and what is easily got wrong. */
const ASCENDING = [
  '0.0.0',
  '0.9.10',
  '0.10.9',
  '1.0.0-1',
  '1.0.0-alpha',
  '1.0.0-alpha.1',
  '1.0.0-alpha.beta',
  '1.0.0-beta',
  '1.0.0-beta.2',
  '1.0.0-beta.11',
  '1.0.0-rc.1',
  '1.0.0-rc-x.1',
  '1.0.0',
  '2.0.0',
  '2.1.0',
  '2.1.1',
  '10.0.0',
];

describe('app versions', () => {
  it('are ordered as semver.org says', () => {
    for (const [at, a] of ASCENDING.entries()) {
      assert.ok(AppVersion.safeParse(a).success, a);
      for (const [other, b] of ASCENDING.entries()) {
        assert.equal(isBelow(a, b), at < other, `${a} < ${b}`);
        assert.equal(isBelow(`${a}+build.7`, b), at < other, `${a}+build.7 < ${b}`);
      }
    }
  });

  it('are refused where they are no versions', () => {
    for (const wrong of ['', '1', '1.2', 'v1.2.3', '1.2.3-', '1.2.3.4', '1.2.x', '1.2.3 ', '1.2.3-a..b']) {
      assert.ok(!AppVersion.safeParse(wrong).success, wrong);
    }
  });

  it('of any form are in one order', () => {
    const word = fc.stringMatching(/^[0-9A-Za-z-]{1,3}$/);
    const version = fc
      .tuple(fc.nat(3), fc.nat(3), fc.nat(3), fc.array(word, { maxLength: 3 }))
      .map(([major, minor, patch, pre]) =>
        [`${major}.${minor}.${patch}`, ...(pre.length > 0 ? [pre.join('.')] : [])].join('-'),
      );
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        assert.ok(!isBelow(a, a));
        assert.ok(!(isBelow(a, b) && isBelow(b, a)));
        if (isBelow(a, b) && isBelow(b, c)) assert.ok(isBelow(a, c), `${a} < ${b} < ${c}`);
      }),
      RUNS,
    );
  });
});
