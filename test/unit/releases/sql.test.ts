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

  it('gives CREATE INDEX CONCURRENTLY a table to try its definition on, whatever it is called', async () => {
    const tables = ['s.t', '"S"."t(x"', '"a""b" ', 't', 'ünï /* x */ '];
    for (const table of tables) {
      const sql = `SELECT '漢';\n CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "I" ON ${table} USING gin (a) WHERE c`;
      const [, statement] = await parseStatements(sql);
      assert(statement?.kind.run === 'create-index');
      const { name, probe } = statement.kind.index;
      assert.equal(name, 'I');
      assert.match(
        probe,
        /^CREATE UNIQUE INDEX {2}IF NOT EXISTS "I" ON pg_temp\.fleet_probe [/ *x]*USING gin \(a\) WHERE c$/,
      );
    }
  });
});
