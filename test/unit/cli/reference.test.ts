import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { REFERENCE_FILE, renderReference } from '../../../scripts/cli-reference.ts';

describe('docs/reference/cli.md', () => {
  it('is what the command tree says; write it anew with `npx tsx scripts/cli-reference.ts`', () => {
    assert.equal(readFileSync(REFERENCE_FILE, 'utf8'), renderReference());
  });
});
