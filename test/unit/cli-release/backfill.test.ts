import assert from 'node:assert/strict';
import { readDirectives } from '../../../fleet-cli/release/directives.ts';
import { withRange } from '../../../fleet-cli/release/backfill.ts';
import { renderSqlFile } from '../../../fleet-cli/release/sql-file.ts';
import { FleetError } from '../../../platform/errors.ts';

const HEAD = '-- fleet: backfill table=orders key=id';

describe('the directive of a backfill', () => {
  it('makes it a migration of the phase migrate outside a transaction', () => {
    assert.deepEqual(readDirectives('f.sql', `${HEAD} batch=50\nUPDATE orders SET a = 1`), {
      phase: 'migrate',
      transactional: false,
      lockTimeoutMs: null,
      statementTimeoutMs: null,
      backfill: { table: 'orders', key: ['id'], batch: 50, verify: null },
    });
    const { backfill } = readDirectives(
      'f.sql',
      `-- fleet: phase=migrate\n-- fleet: backfill table=sales.orders key="tenant, id" verify="select count(*) from orders where id between :from and :to and a is null"\nSELECT 1`,
    );
    assert.deepEqual(backfill, {
      table: 'sales.orders',
      key: ['tenant', 'id'],
      batch: 1_000,
      verify: 'select count(*) from orders where id between $1 and $2 and a is null',
    });
  });

  for (const wrong of [
    '-- fleet: backfill',
    '-- fleet: backfill table=orders',
    '-- fleet: backfill key=id',
    '-- fleet: backfill=orders key=id',
    '-- fleet: table=orders backfill key=id',
    `${HEAD} batch=5`,
    `${HEAD} batch=many`,
    `${HEAD} key=id`,
    `${HEAD} size=10`,
    `${HEAD} verify=""`,
    '-- fleet: backfill table=a.b.c key=id',
    `${HEAD}\n-- fleet: phase=expand`,
    `${HEAD}\n-- fleet: transaction=on`,
    `${HEAD}\n-- fleet: statement-timeout=5m`,
  ]) {
    it(`is refused: ${JSON.stringify(wrong)}`, () => {
      assert.throws(
        () => readDirectives('f.sql', wrong),
        (error: unknown) => error instanceof FleetError && error.code === 'migration_invalid',
      );
    });
  }
});

describe('the ends of a range', () => {
  it('are found where they are SQL, and nowhere else', () => {
    const body = `UPDATE orders SET note = ':from', e = E'\\':to', "a:from" = 1, b = $$:to$$, c = $x$:to$x$, -- :from
      t = x::to, /* :to */ s = y[1:to], total = p WHERE id >= :from AND id<=:to`;
    const { upSql } = withRange(renderSqlFile('f', 'f.sql', `${HEAD}\n${body}`));
    assert.equal(upSql, `${HEAD}\n${body.replace('>= :from', '>= $1').replace('<=:to', '<=$2')}`);
  });

  it('stay as they are in other migrations', () => {
    const text = 'SELECT 1 -- fleet\n WHERE :from';
    assert.equal(withRange(renderSqlFile('f', 'f.sql', text)).upSql, text);
  });
});
