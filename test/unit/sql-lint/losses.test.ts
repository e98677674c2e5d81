import assert from 'node:assert/strict';
import { lossesOf } from '../../../platform/sql-lint/losses.ts';

const CASES: [sql: string, losses: string[]][] = [
  ['', []],
  ['ALTER TABLE a ADD b int; DROP INDEX CONCURRENTLY i; DROP VIEW v; DROP FUNCTION f()', []],
  ['ALTER TABLE a DROP CONSTRAINT c, ALTER b DROP NOT NULL', []],
  [
    'ALTER TABLE a DROP b, DROP COLUMN IF EXISTS "C"',
    ['drops the column b of a', 'drops the column "C" of a'],
  ],
  ['DROP TABLE a, extra.b', ['drops the table a', 'drops the table extra.b']],
  ['DROP SCHEMA extra; DROP SEQUENCE s', ['drops the schema extra', 'drops the sequence s']],
  ['DROP TYPE t CASCADE', ['drops what it does not name (CASCADE)']],
  ['TRUNCATE a, b', ['empties a', 'empties b']],
  ['WITH old AS (DELETE FROM a RETURNING id) SELECT * FROM old', ['deletes rows of a']],
  ['DO $$ BEGIN ALTER TABLE a DROP b; END $$', ['drops the column b of a']],
  ["DO $$ BEGIN EXECUTE format('DROP TABLE %I', 'a'); END $$", ['runs SQL that cannot be read before']],
  ['ALTER TABLE', ['runs SQL that cannot be read before']],
];

describe('what data goes when SQL runs', () => {
  for (const [sql, losses] of CASES) {
    it(`says it of ${JSON.stringify(sql)}`, async () => {
      assert.deepEqual(await lossesOf(sql), losses);
    });
  }
});
