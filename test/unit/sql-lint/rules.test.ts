import assert from 'node:assert/strict';
import { lintMigrations } from '../../../platform/sql-lint/lint.ts';
import type { Finding, ServerRange } from '../../../platform/sql-lint/rule.ts';
import { RULES } from '../../../platform/sql-lint/rules.ts';
import { CASES, HISTORY, type Case } from './cases.ts';

const ON_15: ServerRange = { min: 15, max: 18 };
const ON_18: ServerRange = { min: 18, max: 18 };

/** Fewer would leave rules without both sides. */
const CASES_MIN = 60;

function lint({ sql, more = {} }: Pick<Case, 'sql' | 'more'>, servers = ON_15): Promise<Finding[]> {
  const migration = { name: '0002_case', file: '0002_case.sql', upSql: sql, upLine: 1, ...more };
  return lintMigrations([migration], { servers, history: [{ name: '0001_history', upSql: HISTORY }] });
}

function rulesOf(findings: Finding[]): string[] {
  return findings.map(({ rule }) => rule).sort();
}

describe('each lint rule', () => {
  for (const each of CASES) {
    it(`${each.sql.replaceAll('\n', ' ')} → ${each.rules.join(', ') || 'nothing'}`, async () => {
      assert.deepEqual(rulesOf(await lint(each, ON_15)), each.rules.toSorted(), 'on 15 to 18');
      assert.deepEqual(rulesOf(await lint(each, ON_18)), (each.on18 ?? each.rules).toSorted(), 'on 18');
    });
  }

  it(`is tried by a case that breaks it, of ${CASES_MIN} and more`, () => {
    const tried = new Set(CASES.flatMap(({ rules }) => rules));
    assert.deepEqual(
      RULES.map(({ id }) => id).filter((id) => !tried.has(id)),
      [],
    );
    assert.ok(CASES.length >= CASES_MIN, String(CASES.length));
  });
});
