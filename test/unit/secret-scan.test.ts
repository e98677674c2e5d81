import assert from 'node:assert/strict';
import { secretFinder } from '../support/secret-scan.ts';

describe('the scan for secrets', () => {
  const secret = Buffer.from('00112233445566778899aabbccddeefff0e1d2c3b4a5968778695a4b3c2d1efb', 'hex');
  const find = secretFinder([secret]);
  const written = secret.toString('base64url');

  for (const [form, text] of Object.entries({
    'a password': `password=${written};`,
    'an API key': `flt_0a1b2c_${written}`,
    'base64 with the other alphabet': `key ${secret.toString('base64')}`,
    hex: `\\x${secret.toString('hex')}`,
    'hex in capitals': secret.toString('hex').toUpperCase(),
    'the middle of sealed data': `\\x${'00'.repeat(40)}${secret.toString('hex')}${'11'.repeat(40)}`,
    'an Authorization header': `Basic ${Buffer.from(`postgres:${written}`).toString('base64')}`,
    'base64 of a token': Buffer.from(`Bearer flt_0a1b2c_${written}`).toString('base64'),
  })) {
    it(`finds one in ${form}`, () => assert.equal(find(`before ${text} after`).length, 1));
  }

  it('says what stands before it, and not what it is', () => {
    assert.deepEqual(find(`{"password":"${written}"}`), ['{"password":"']);
  });

  it('finds one wherever it stands in megabytes without a gap', () => {
    for (const before of [4_080, 4_095, 4_096, 8e6]) {
      assert.equal(find('a'.repeat(before) + written + 'b'.repeat(100)).length, 1, String(before));
    }
  });

  it('takes nothing else for one', () => {
    const other = Buffer.from(secret).reverse();
    assert.deepEqual(find(`${other.toString('base64url')} ${other.toString('hex')}`), []);
  });
});
