import assert from 'node:assert/strict';
import type { RehearsalTarget, RehearsedMigration } from '../../../contract/rehearsal.ts';
import { REHEARSAL_STATES } from '../../../contract/rehearsal.ts';
import { migrationChecksum, type Migration } from '../../../control-plane/releases/release.ts';
import { cloneName } from '../../../control-plane/rollouts/rehearsals/clone.ts';
import { watchTables } from '../../../control-plane/rollouts/rehearsals/measure.ts';
import { createPrepare, isLeftOut } from '../../../control-plane/rollouts/rehearsals/prepare.ts';
import { isStronger, transitionRehearsal } from '../../../control-plane/rollouts/rehearsals/rehearsal.ts';
import { countOutcomes, reportOf } from '../../../control-plane/rollouts/rehearsals/report.ts';

const BACKFILL: Partial<Migration> = {
  transactional: false,
  backfill: { table: 't', key: ['id'] } as unknown as Migration['backfill'],
};

function migration(name: string, upSql: string, more: Partial<Migration> = {}): Migration {
  return {
    ...{ name, ordinal: 1, checksum: migrationChecksum(upSql, null), upSql, downSql: null },
    ...{
      phase: 'expand',
      transactional: true,
      lockTimeoutMs: null,
      statementTimeoutMs: null,
      statements: null,
    },
    ...more,
  };
}

function target(tenant: string, more: Partial<RehearsalTarget> = {}): RehearsalTarget {
  return {
    ...{ tenant, region: 'eu', server: 'eu-1', wave: 'all', how: 'in_place', outcome: 'passes' },
    ...{ reason: null, error: null, lockWaitMs: 0, heldMs: 10, durationMs: 20 },
    ...{ migrations: [], locks: [], rewrites: [], finishedAt: null },
    ...more,
  };
}

describe('rehearsals', () => {
  it('end once', () => {
    for (const state of REHEARSAL_STATES) {
      const isOver = state === 'succeeded' || state === 'failed';
      assert.equal(transitionRehearsal(state, 'fail'), isOver ? undefined : 'failed');
      assert.equal(transitionRehearsal(state, 'start'), isOver ? undefined : 'running');
      assert.equal(transitionRehearsal(state, 'succeed'), state === 'running' ? 'succeeded' : undefined);
    }
  });

  it('name copies alike for whoever comes next, and for nobody else', () => {
    assert.match(cloneName('r', 'd'), /^fleet_rehearsal_[0-9a-f]{24}$/);
    assert.equal(cloneName('r', 'd'), cloneName('r', 'd'));
    assert.notEqual(cloneName('r', 'd'), cloneName('r', 'e'));
  });

  it('leave out what a rollback does not take back, and nothing else', async () => {
    const cases: [what: string, upSql: string, more: Partial<Migration>, reason: RegExp][] = [
      ['no transaction', 'VACUUM t', { transactional: false }, /outside of a transaction/],
      ['setval', "SELECT SETVAL ('s', 1)", {}, /no rollback takes back/],
      ['COMMIT', 'UPDATE t SET n = 1; COMMIT', {}, /cannot run in a transaction/],
      ['what cannot be parsed', 'SELEKT', {}, /cannot be cut/],
      ['a backfill', 'UPDATE t SET n = 1 WHERE id BETWEEN :from AND :to', BACKFILL, /is a backfill/],
    ];
    for (const [what, upSql, more, reason] of cases) {
      const list = [migration('001_a', 'SELECT 1'), migration('002_b', upSql, more), migration('003_c', '')];
      const steps = await createPrepare()(list);
      assert.deepEqual(steps.map(isLeftOut), [false, true, false], what);
      const [left] = steps.filter(isLeftOut);
      assert.equal(left?.migration, '002_b', what);
      assert.match(left.reason, reason);
    }
  });

  it('tell failures of the data from those that may come of what was left out', async () => {
    const without = { transactional: false };
    const cases: [upSql: string, more: Partial<Migration>, state: string, table: string, mayBe: boolean][] = [
      ['CREATE INDEX CONCURRENTLY i ON t (n)', without, '23514', 't', false],
      ['CREATE INDEX CONCURRENTLY i ON t (n)', without, '22001', '', false],
      ['CREATE UNIQUE INDEX CONCURRENTLY i ON t (n)', without, '42704', '', true],
      ['SET lock_timeout = 0; REINDEX INDEX CONCURRENTLY i', without, '23505', 't', false],
      ['DROP INDEX CONCURRENTLY i', without, '23505', 't', true],
      ['DROP INDEX CONCURRENTLY i', without, '2BP01', 't', true],
      ['UPDATE t SET n = 1 WHERE id BETWEEN :from AND :to', BACKFILL, '23502', 'T', true],
      ['UPDATE t SET n = 1 WHERE id BETWEEN :from AND :to', BACKFILL, '23502', 'other', false],
      ['UPDATE "my t" SET n = 1 WHERE id BETWEEN :from AND :to', BACKFILL, '23502', 'my t', true],
      ['UPDATE t SET n = 1 WHERE id BETWEEN :from AND :to', BACKFILL, '23503', 'other', true],
      ['UPDATE t SET n = 1 WHERE id BETWEEN :from AND :to', BACKFILL, '23514', '', true],
      ['UPDATE t SET n = 1 WHERE id BETWEEN :from AND :to', BACKFILL, '22P02', '', true],
      ['VACUUM t; CREATE TABLE other ()', without, '23514', 'other', true],
    ];
    for (const [upSql, more, state, table, mayBe] of cases) {
      const [left] = await createPrepare()([migration('001_a', upSql, more)]);
      assert.ok(left !== undefined && isLeftOut(left));
      const said = left.mayCause({ state, table: table === '' ? undefined : table });
      assert.equal(said, mayBe, `${upSql}: ${state} ${table}`);
    }
  });

  it('cut a migration into statements that know their place', async () => {
    const upSql = "-- one\nSELECT ';'; DO $$ BEGIN END $$;\nSELECT ';';";
    const [first] = await createPrepare()([migration('001_a', upSql)]);
    assert.ok(first !== undefined && !isLeftOut(first));
    assert.equal(first.statements.length, 3);
    for (const { text, start } of first.statements)
      assert.equal(upSql.slice(start, start + text.length), text);
    assert.ok((first.statements[2]?.start ?? 0) > (first.statements[0]?.start ?? 0));
  });

  it('count on how many targets each migration was tried', () => {
    const step = (name: string, outcome: RehearsedMigration['outcome']) => {
      return { name, outcome, durationMs: null, rows: null };
    };
    const part = target('a', {
      outcome: 'not_rehearsed',
      migrations: [step('001', 'passed'), step('002', 'not_rehearsed')],
    });
    const failing = target('b', { outcome: 'fails', migrations: [step('001', 'failed')] });
    const nothing = target('c', { outcome: 'not_rehearsed', migrations: [step('002', 'not_rehearsed')] });
    const { migrations, partly, untried } = reportOf([part, failing, nothing]);
    assert.deepEqual(migrations, [
      { name: '001', targets: 2, passed: 1, failed: 1, untried: 0 },
      { name: '002', targets: 2, passed: 0, failed: 0, untried: 2 },
    ]);
    assert.deepEqual([partly, untried], [1, ['002']]);
  });

  it('tell which migration has taken the strongest lock, and which has written a table again', () => {
    const table = (oid: string, file: string) => ({ oid, name: `t${oid}`, file, bytes: 8_192 });
    const watch = watchTables([table('1', 'a'), table('2', 'b')]);
    watch.note(
      '001_a',
      [table('1', 'a'), table('2', 'c'), table('9', 'n')],
      [
        { oid: '1', mode: 'RowExclusive' },
        { oid: '2', mode: 'AccessShare' },
        { oid: '9', mode: 'AccessExclusive' },
      ],
    );
    watch.note(
      '002_b',
      [table('1', 'a'), table('2', 'c')],
      [
        { oid: '1', mode: 'AccessExclusive' },
        { oid: '1', mode: 'RowExclusive' },
      ],
    );
    assert.deepEqual(watch.locks(), [{ table: 't1', mode: 'AccessExclusive', migration: '002_b' }]);
    assert.deepEqual(watch.rewrites(), [{ table: 't2', migration: '001_a', bytes: 8_192 }]);
    assert.ok(isStronger('Share', null) && !isStronger('Share', 'Share'));
  });

  it('report failures in groups, the largest first, and the heaviest tables', () => {
    const error = (tenant: string, message: string) => ({
      code: 'migration_failed',
      message: `${tenant}: ${message}`,
    });
    const fails = (tenant: string, message: string) =>
      target(tenant, { outcome: 'fails', error: error(tenant, message), heldMs: 30 });
    const heavy = target('e', {
      migrations: [{ name: '001_a', outcome: 'passed', durationMs: 40, rows: 0 }],
      locks: [{ table: 'orders', mode: 'AccessExclusive', migration: '001_a' }],
      rewrites: [{ table: 'orders', migration: '001_a', bytes: 100 }],
    });
    const light = target('f', { locks: [{ table: 'items', mode: 'Share', migration: '001_a' }] });
    const busy = target('g', { outcome: 'busy', reason: 'its tenant is being moved', heldMs: null });
    const all = [fails('a', 'other'), fails('b', 'row 17'), fails('c', 'row 9'), heavy, light, busy];
    const report = reportOf(all);
    assert.deepEqual(
      report.failures.map(({ tenants }) => tenants),
      [['b', 'c'], ['a']],
    );
    assert.deepEqual(report.gaps, [{ code: 'busy', message: 'its tenant is being moved', tenants: ['g'] }]);
    assert.deepEqual(report.heldMs, { median: 30, max: 30 });
    assert.deepEqual(
      report.tables.map(({ table, lock, rewritten, maxBytes, maxMs }) => [
        table,
        lock,
        rewritten,
        maxBytes,
        maxMs,
      ]),
      [
        ['orders', 'AccessExclusive', 1, 100, 40],
        ['items', 'Share', 0, 0, null],
      ],
    );
    const { passes, fails: failing, busy: occupied } = countOutcomes(all);
    assert.deepEqual([passes, failing, occupied], [2, 3, 1]);
    assert.deepEqual(reportOf([]).heldMs, null);
  });
});
