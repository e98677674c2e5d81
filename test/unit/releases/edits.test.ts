import assert from 'node:assert/strict';
import { findEdits } from '../../../control-plane/releases/edits.ts';
import {
  migrationChecksum,
  releaseChecksum,
  type Migration,
} from '../../../control-plane/releases/release.ts';

function migration(ordinal: number, upSql = `SELECT ${ordinal}`): Migration {
  return {
    ...{ name: `m${ordinal}`, ordinal, upSql, downSql: null, phase: 'expand', transactional: true },
    checksum: migrationChecksum(upSql, null),
    ...{ lockTimeoutMs: null, statementTimeoutMs: null, statements: null },
  };
}

const LIST = [migration(1), migration(2), migration(3)];
const RELEASES = [1, 3].map((headOrdinal) => ({
  ...{ name: `r${headOrdinal}`, headOrdinal },
  checksum: releaseChecksum(LIST.slice(0, headOrdinal)),
}));

describe('what was published', () => {
  it('is as it was', () => {
    assert.deepEqual(findEdits(LIST, RELEASES), []);
    assert.deepEqual(findEdits([], []), []);
  });

  it('is edited where its text no longer fits its checksum', () => {
    const edited = LIST.with(1, { ...migration(2), upSql: 'SELECT 2 ' });
    assert.deepEqual(findEdits(edited, RELEASES), [
      {
        ...{ name: 'm2', ordinal: 2 },
        published: migrationChecksum('SELECT 2', null),
        now: migrationChecksum('SELECT 2 ', null),
      },
    ]);
  });

  it('is edited where the list no longer fits a release, somewhere behind the last that it fits', () => {
    const told = (list: Migration[]) => findEdits(list, RELEASES).map(({ name, ordinal }) => [name, ordinal]);
    assert.deepEqual(told(LIST.with(2, migration(3, 'SELECT 4'))), [['m2 to m3', 2]]);
    assert.deepEqual(told(LIST.with(0, migration(1, 'SELECT 4'))), [['m1', 1]]);
    assert.deepEqual(told(LIST.slice(0, 2)), [['m2', 2]]);
    assert.deepEqual(told(LIST.slice(0, 1)), [['release r3', 2]]);
    assert.deepEqual(told([migration(1), migration(3), migration(2)]), [['m3 to m2', 2]]);
  });
});
