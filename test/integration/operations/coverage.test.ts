import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { allOperations, type Deps } from '../../../control-plane/control-plane.ts';
import { projectRoot } from '../../../platform/project.ts';

describe('every durable operation', () => {
  it('is held to the laws by a suite of its own', () => {
    const kinds = [...allOperations({} as Deps).keys()];
    assert.ok(kinds.length >= 6);
    const held = lawSuites().join('\n');
    for (const kind of kinds) {
      const name = camelCase(kind);
      assert.match(
        held,
        new RegExp(`obeysTheLaws\\([^,]*,\\s*${name}\\b|obeysTheLaws\\('${kind}'`),
        `${kind} has no suite of laws`,
      );
    }
  });
});

/** Source of the files that call the helper. */
function lawSuites(): string[] {
  const folder = join(projectRoot(), 'test', 'integration');
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('laws.test.ts'))
    .map((file) => readFileSync(join(folder, file), 'utf8'));
}

/** `tenant.create` is defined as `createTenant`. */
function camelCase(kind: string): string {
  const [noun = '', verb = ''] = kind.split('.');
  return `${verb}${noun.charAt(0).toUpperCase()}${noun.slice(1)}`;
}
