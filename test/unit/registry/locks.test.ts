import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ADVISORY_LOCKS } from '../../../control-plane/registry/locks.ts';
import { projectRoot } from '../../../platform/project.ts';

/** A lock taken under a number that is written where it is taken. */
const LITERAL_LOCK = /pg_(?:try_)?advisory_(?:xact_)?(?:un)?lock(?:_shared)?\((\d+)/g;

describe('advisory locks', () => {
  it('have a number each', () => {
    const numbers = Object.values(ADVISORY_LOCKS);
    assert.equal(new Set(numbers).size, numbers.length);
  });

  it('are numbered in the table only, but for the one that SQL takes', () => {
    assert.deepEqual(literalLocks('control-plane', '.ts'), []);
    assert.deepEqual(literalLocks('migrations/registry', '.sql'), [ADVISORY_LOCKS.routeClock]);
  });
});

function literalLocks(folder: string, suffix: string): number[] {
  const root = join(projectRoot(), folder);
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(suffix))
    .flatMap((name) => [...readFileSync(join(root, name), 'utf8').matchAll(LITERAL_LOCK)])
    .map(([, number]) => Number(number));
}
