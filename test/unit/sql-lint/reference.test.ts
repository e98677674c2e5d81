import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { LINT_REFERENCE_FILE, renderLintReference } from '../../../scripts/lint-reference.ts';

describe('docs/lint.md', () => {
  it('is what the rules say; write it anew with `npx tsx scripts/lint-reference.ts`', () => {
    assert.equal(readFileSync(LINT_REFERENCE_FILE, 'utf8'), renderLintReference());
  });
});
