import assert from 'node:assert/strict';
import fc from 'fast-check';
import { getActions } from 'node-pg-migrate/sqlMigration';
import { renderSqlFile, renderSqlPair } from '../../../fleet-cli/release/sql-file.ts';
import { FleetError } from '../../../platform/errors.ts';

/** What node-pg-migrate's own slicing hands to its builder. */
function reference(text: string): { up: string | undefined; down: string | undefined } {
  const actions = getActions(text);
  const take = (action: unknown): string | undefined => {
    let taken: string | undefined;
    const pgm = { sql: (sql: string) => void (taken = sql) };
    if (typeof action === 'function') action(pgm);
    return taken;
  };
  return { up: take(actions.up), down: take(actions.down) };
}

describe('a .sql file with markers', () => {
  it('is cut as node-pg-migrate cuts it', () => {
    const line = fc.constantFrom(
      '-- Up Migration',
      '--up migration',
      '   -- - UP  Migrations of mine',
      '-- Down Migration',
      '  --DOWN migration',
      'SELECT 1; -- Up Migration',
      'SELECT 2;',
      '',
      '\t',
      '-- a note',
      '-- Upmigration',
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 9 }), fc.constantFrom('\n', '\r\n'), (lines, end) => {
        const text = lines.join(end);
        const expected = reference(text);
        try {
          const { upSql, downSql } = renderSqlFile('n', 'n.sql', text);
          assert.deepEqual({ up: upSql, down: downSql ?? undefined }, expected);
        } catch (error) {
          assert(error instanceof FleetError, String(error));
          // The one file that is refused: its down part would run as part of up.
          assert.equal(expected.up, text);
          assert.notEqual(expected.down, undefined);
        }
      }),
      { numRuns: 2_000, seed: 20_261_121 },
    );
  });

  it('refuses a Down marker without an Up marker, with its line', () => {
    assert.throws(
      () => renderSqlFile('n', 'n.sql', 'SELECT 1;\n\n-- Down Migration\nSELECT 2;'),
      (error: FleetError) => error.code === 'migration_invalid' && error.errors?.[0]?.path === 'n.sql:3',
    );
  });

  it('remembers the lines on which its parts begin', () => {
    const text = '-- fleet: phase=contract\n-- Up Migration\nSELECT 1;\n-- Down Migration\nSELECT 2;';
    const { upLine, downLine, phase } = renderSqlFile('n', 'n.sql', text);
    assert.deepEqual([upLine, downLine, phase], [2, 4, 'contract']);
  });

  it('has no down part when its down file is empty', () => {
    assert.equal(renderSqlPair('n', 'n.up.sql', 'SELECT 1', '').downSql, null);
    assert.equal(renderSqlPair('n', 'n.up.sql', 'SELECT 1', null).downSql, null);
  });
});
