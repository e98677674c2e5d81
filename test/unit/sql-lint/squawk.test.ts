import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { lintMigrations } from '../../../platform/sql-lint/lint.ts';
import { CASES, HISTORY, type Case } from './cases.ts';
import { DIFFERENT, SAME_VERDICT, WITHOUT } from './squawk.ts';

const Report = z.array(z.object({ file: z.string(), rule_name: z.string() }));

/** squawk's program for this machine; undefined where it has none. */
function squawkProgram(): string | undefined {
  const require = createRequire(import.meta.url);
  try {
    const manifest = require.resolve(`@squawk-cli/${process.platform}-${process.arch}/package.json`);
    return join(dirname(manifest), 'bin', 'squawk');
  } catch {
    return undefined;
  }
}

/** What squawk finds in each case, by its place in the table. It exits with 1 when it finds something. */
async function squawk(program: string, cases: Case[], inTransaction: boolean): Promise<Set<string>[]> {
  const folder = mkdtempSync(join(tmpdir(), 'squawk-'));
  try {
    const files = cases.map((_, index) => join(folder, `${index}.sql`));
    for (const [index, file] of files.entries()) writeFileSync(file, `${cases[index]?.sql ?? ''};\n`);
    const flags = [
      '--reporter',
      'json',
      '--pg-version',
      '15.0',
      ...(inTransaction ? ['--assume-in-transaction'] : []),
    ];
    const { stdout } = await promisify(execFile)(program, [...flags, ...files]).catch(
      (error: { stdout: string }) => error,
    );
    const found = Report.parse(JSON.parse(stdout));
    return files.map(
      (file) => new Set(found.filter((each) => each.file === file).map((each) => each.rule_name)),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function ours({ sql, more }: Case): Promise<Set<string>> {
  const migration = { name: '0002_case', file: '0002_case.sql', upSql: sql, ...more };
  const options = { servers: { min: 15, max: 18 }, history: [{ name: '0001_history', upSql: HISTORY }] };
  return new Set((await lintMigrations([migration], options)).map(({ rule }) => rule));
}

describe('squawk and our rules', () => {
  const answered = new Set<string>();

  for (const inTransaction of [true, false]) {
    it(`give the same verdict, or we say why not (${inTransaction ? 'in' : 'outside'} a transaction)`, async function () {
      const program = squawkProgram();
      // It has no program for this machine.
      if (program === undefined) this.skip();
      const cases = CASES.filter(({ more }) => (more?.transactional !== false) === inTransaction);
      const theirs = await squawk(program, cases, inTransaction);
      for (const [index, each] of cases.entries()) {
        const found = await ours(each);
        const missed = [...(theirs[index] ?? [])].filter(
          (rule) =>
            WITHOUT[rule] === undefined &&
            ![rule, ...(SAME_VERDICT[rule] ?? [])].some((same) => found.has(same)),
        );
        if (missed.length > 0) answered.add(each.sql);
        assert.ok(
          missed.length === 0 || DIFFERENT[each.sql] !== undefined,
          `${each.sql}: ${missed.join(', ')}`,
        );
      }
    });
  }

  it('differ nowhere without need: every reason is for a difference', function () {
    if (answered.size === 0) this.skip();
    assert.deepEqual(
      Object.keys(DIFFERENT).filter((sql) => !answered.has(sql)),
      [],
    );
  });
});
