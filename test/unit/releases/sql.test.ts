import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseStatements, SqlSyntaxError } from '../../../control-plane/releases/sql.ts';

describe('cutting SQL into statements', () => {
  it('finds each statement whole, in order, wherever quotes and comments hide semicolons', async () => {
    const pieces = [
      `SELECT ';'`,
      `SELECT $a$ ; $b$ ; $a$`,
      `INSERT INTO t VALUES ('é — 漢字 😀;')`,
      `CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END`,
      `COMMENT ON TABLE t IS E'\\';'`,
      `SELECT /* ; /* nested ; */ */ 1`,
    ];
    const separators = [';', ' ;\n', ';-- é ;\n', ';\n/* ; */ ;', ';;'];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...pieces), fc.constantFrom(...separators)), { maxLength: 6 }),
        async (parts) => {
          const statements = await parseStatements(parts.flat().join(''));
          assert.deepEqual(
            statements.map(({ text }) => text),
            parts.map(([piece]) => piece),
          );
        },
      ),
      { numRuns: 1_000, seed: 20_261_121 },
    );
  });

  it('knows the line of each statement, and of an error behind wide characters', async () => {
    const statements = await parseStatements(`-- 漢字\nSELECT 1;\n\n  SELECT\n 2`);
    assert.deepEqual(
      statements.map(({ line }) => line),
      [2, 4],
    );
    await assert.rejects(parseStatements(`SELECT '😀😀😀';\n\nSELCT`), (error: SqlSyntaxError) => {
      assert(error instanceof SqlSyntaxError);
      return error.line === 3;
    });
  });

  it('finds none in nothing', async () => {
    for (const sql of ['', ' \n', '-- note', ';;']) assert.deepEqual(await parseStatements(sql), []);
  });

  it('reads from CREATE INDEX CONCURRENTLY what tells the index from a namesake', async () => {
    const [statement] = await parseStatements(
      'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "I" ON s.t USING gin (a, lower(b)) WHERE c',
    );
    assert.deepEqual(statement?.kind, {
      run: 'create-index',
      index: {
        schema: 's',
        name: 'I',
        table: 't',
        unique: true,
        method: 'gin',
        columns: ['a', null],
        partial: true,
      },
    });
  });
});
