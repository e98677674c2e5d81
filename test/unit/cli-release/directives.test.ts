import assert from 'node:assert/strict';
import { readDirectives } from '../../../fleet-cli/release/directives.ts';
import { FleetError } from '../../../platform/errors.ts';

const DEFAULTS = { phase: 'expand', transactional: true, lockTimeoutMs: null, statementTimeoutMs: null };

describe('directives of a migration', () => {
  it('are read from the head comment, one or several a line, before and behind markers', () => {
    const text = [
      '-- Adds the index.',
      '-- fleet: phase=contract',
      '',
      '-- Up Migration',
      '--fleet: transaction=off, lock-timeout=500ms  statement-timeout=2h\r',
      'SELECT 1;',
    ].join('\n');
    assert.deepEqual(readDirectives('f.sql', text), {
      phase: 'contract',
      transactional: false,
      lockTimeoutMs: 500,
      statementTimeoutMs: 7_200_000,
    });
    assert.deepEqual(readDirectives('f.sql', 'SELECT 1'), DEFAULTS);
    assert.deepEqual(readDirectives('f.ts', '// fleet: phase=migrate\nexport const up = 1;'), {
      ...DEFAULTS,
      phase: 'migrate',
    });
  });

  it('allow lint rules, each with the reason of its line', () => {
    const text = [
      '-- fleet: allow=ban-drop-column reason="nobody reads it, see the log of 2026-11"',
      '-- fleet: allow=own-timeout, allow=ban-truncate reason="empty" phase=migrate',
    ].join('\n');
    assert.deepEqual(readDirectives('f.sql', text), {
      ...DEFAULTS,
      phase: 'migrate',
      allow: [
        { rule: 'ban-drop-column', reason: 'nobody reads it, see the log of 2026-11' },
        { rule: 'own-timeout', reason: 'empty' },
        { rule: 'ban-truncate', reason: 'empty' },
      ],
    });
  });

  it('say which app version a contract step waits for', () => {
    const read = (text: string) => readDirectives('f.sql', text).requiresApp;
    assert.equal(read('-- fleet: phase=contract, requires-app>=2.4.0\nSELECT 1;'), '2.4.0');
    assert.equal(read('-- fleet: requires-app>=2.4.0-rc.1\n-- fleet: phase=contract'), '2.4.0-rc.1');
    assert.throws(() => read('-- fleet: requires-app>=2.4.0\nSELECT 1;'), FleetError);
  });

  for (const [wrong, place] of [
    ['-- fleet: phase=late', 'f.sql:1'],
    ['-- note\n-- fleet: transaction=maybe', 'f.sql:2'],
    ['-- fleet: lock-timeout=2', 'f.sql:1'],
    ['-- fleet: lock-timeout=0s', 'f.sql:1'],
    ['-- fleet: lock-timeout=11m', 'f.sql:1'],
    ['-- fleet: statement-timeout=25h', 'f.sql:1'],
    ['-- fleet: transactions=off', 'f.sql:1'],
    ['-- fleet: allow=drop-column reason="x"', 'f.sql:1'],
    ['-- fleet: allow=syntax-error reason="x"', 'f.sql:1'],
    ['-- fleet: allow=ban-truncate', 'f.sql:1'],
    ['-- fleet: allow=ban-truncate reason=" "', 'f.sql:1'],
    ['-- fleet: allow=ban-truncate\n-- fleet: reason="x"', 'f.sql:1'],
    ['-- fleet: phase=expand\n-- fleet: reason="x"', 'f.sql:2'],
    ['-- fleet: allow=ban-truncate reason="never closed', 'f.sql:1'],
    ['-- fleet: phase=contract requires-app>=2.4', 'f.sql:1'],
    ['-- fleet: phase=contract requires-app=2.4.0', 'f.sql:1'],
    ['-- fleet: phase=contract requires-app>2.4.0', 'f.sql:1'],
    ['-- fleet:', 'f.sql:1'],
    ['SELECT 1;\n-- fleet: transaction=off', 'f.sql:2'],
    ['-- a\nSELECT 1;\n-- Down Migration\n  -- fleet: phase=expand', 'f.sql:4'],
  ] as const) {
    it(`refuse ${JSON.stringify(wrong)}`, () => {
      assert.throws(
        () => readDirectives('f.sql', wrong),
        (error: unknown) => {
          assert(error instanceof FleetError, String(error));
          assert.equal(error.code, 'migration_invalid');
          assert.equal(error.errors?.[0]?.path, place);
          return true;
        },
      );
    });
  }
});
