import assert from 'node:assert/strict';
import { backfillComplaints, rangedSql } from '../../../control-plane/releases/backfill-statement.ts';
import type { RenderedMigration } from '../../../contract/release.ts';

const SOUND: RenderedMigration = {
  name: '0001_m',
  file: '0001_m.sql',
  upSql: 'UPDATE orders SET total = price WHERE id BETWEEN $1 AND $2',
  downSql: null,
  phase: 'migrate',
  transactional: false,
  lockTimeoutMs: null,
  statementTimeoutMs: null,
  backfill: { table: 'orders', key: ['id'], batch: 1_000, verify: null },
};

function complaints(changes: Partial<RenderedMigration>, verify: string | null = null): Promise<unknown[]> {
  const backfill = { table: 'orders', key: ['id'], batch: 1_000, verify };
  return backfillComplaints({ ...SOUND, backfill, ...changes });
}

describe('the statement of a backfill', () => {
  it('is any change of rows that both ends of the range bound', async () => {
    for (const upSql of [
      SOUND.upSql,
      "-- é\nUPDATE orders SET note = '$1' WHERE (a, b) BETWEEN $1 AND $2;",
      'INSERT INTO totals SELECT id, price FROM orders WHERE id >= $1 AND id <= $2',
      'DELETE FROM orders WHERE id >= $1 AND id <= $2 AND gone',
    ]) {
      assert.deepEqual(await complaints({ upSql }), [], upSql);
    }
  });

  for (const [what, changes] of [
    ['two statements', { upSql: `${SOUND.upSql};\nSELECT 1` }],
    ['none', { upSql: '-- nothing' }],
    ['no change of rows', { upSql: 'SELECT $1, $2' }],
    ['one end', { upSql: 'UPDATE orders SET total = 1 WHERE id >= $1' }],
    ['a third end', { upSql: 'UPDATE orders SET total = $3 WHERE id BETWEEN $1 AND $2' }],
    ['another phase', { phase: 'expand' }],
    ['one transaction', { transactional: true }],
    ['a time-out of its own', { statementTimeoutMs: 5_000 }],
  ] as const) {
    it(`is refused with ${what}`, async () => {
      assert.equal((await complaints(changes)).length, 1);
    });
  }

  it('has a verification query that is one SELECT, over everything or by ranges', async () => {
    assert.deepEqual(await complaints({}, 'select count(*) from orders where total is null'), []);
    assert.deepEqual(await complaints({}, 'select count(*) from orders where id between $1 and $2'), []);
    for (const verify of [
      'delete from orders',
      'select 1; select 2',
      'select id > $1',
      'select',
      'selec 1',
    ]) {
      const found = await complaints({}, verify);
      assert.equal(found.length, verify === 'select' ? 0 : 1, verify);
    }
  });

  it('is filled in where the parser sees its ends', async () => {
    const statement = await rangedSql(
      "-- $1\nUPDATE t SET é = '$2', b = $2 WHERE id BETWEEN $1 AND $2 -- $1",
    );
    const filled = statement("('1'::bigint)", "('20'::bigint)");
    assert.match(
      filled,
      /SET é = '\$2', b = \('20'::bigint\) WHERE id BETWEEN \('1'::bigint\) AND \('20'::bigint\)/,
    );
  });
});
