import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  missingMigrations,
  releaseChecksum,
  migrationChecksum,
  type Migration,
} from '../../../control-plane/releases/release.ts';
import type { RenderedMigration } from '../../../contract/release.ts';
import { FleetError } from '../../../platform/errors.ts';

const RUNS = { numRuns: 1_000, seed: 20_261_121 };

function offer(names: string[]): RenderedMigration[] {
  return names.map((name) => ({
    name,
    file: `${name}.sql`,
    upSql: `SELECT '${name}'`,
    downSql: null,
    phase: 'expand',
    transactional: true,
    lockTimeoutMs: null,
    statementTimeoutMs: null,
  }));
}

function list(names: string[]): Migration[] {
  return offer(names).map(({ file: _file, upLine: _up, downLine: _down, ...fields }, index) => ({
    ...fields,
    ordinal: index + 1,
    checksum: migrationChecksum(fields.upSql, fields.downSql),
    statements: null,
  }));
}

const Names = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,3}$/), { maxLength: 8 });

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    assert(error instanceof FleetError, String(error));
    return error.code;
  }
}

describe('the published list', () => {
  it('gives equal checksums to equal lists only', () => {
    fc.assert(
      fc.property(Names, Names, (a, b) => {
        const equal = a.length === b.length && a.every((name, index) => name === b[index]);
        assert.equal(releaseChecksum(list(a)) === releaseChecksum(list(b)), equal);
      }),
      RUNS,
    );
  });

  it('does not confuse where up ends and down begins', () => {
    assert.notEqual(migrationChecksum('ab', 'c'), migrationChecksum('a', 'bc'));
    assert.notEqual(migrationChecksum('ab', ''), migrationChecksum('a', 'b'));
  });
});

describe('what a database lacks', () => {
  it('is what the list has behind the applied prefix, and every other state is refused', () => {
    fc.assert(
      fc.property(Names, Names, (applied, wanted) => {
        const has = list(applied).map(({ name, checksum }) => ({ name, checksum }));
        const shared = Math.min(applied.length, wanted.length);
        const prefix = applied.slice(0, shared).every((name, index) => wanted[index] === name);
        if (!prefix) {
          assert.equal(
            codeOf(() => missingMigrations(has, list(wanted))),
            'migration_out_of_order',
          );
          return;
        }
        const missing = missingMigrations(has, list(wanted)).map(({ name }) => name);
        assert.deepEqual(missing, wanted.slice(applied.length));
      }),
      RUNS,
    );
  });

  it('accepts by name what node-pg-migrate applied, and refuses other content', () => {
    const [first] = list(['a']);
    assert(first !== undefined);
    assert.deepEqual(missingMigrations([{ name: 'a', checksum: null }], [first]), []);
    assert.equal(
      codeOf(() => missingMigrations([{ name: 'a', checksum: 'x' }], [first])),
      'migration_edited',
    );
  });
});
