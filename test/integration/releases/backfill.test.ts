import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Backfill } from '../../../contract/backfill.ts';
import { applyMigrations, type ApplyRequest } from '../../../control-plane/releases/apply.ts';
import { BackfillStoppedError, type BackfillCount } from '../../../control-plane/releases/backfill-run.ts';
import type { Migration } from '../../../control-plane/releases/release.ts';
import { revertMigrations } from '../../../control-plane/releases/revert.ts';
import { FleetError } from '../../../platform/errors.ts';
import {
  makeTestServer,
  published,
  read,
  run,
  type TenantDatabase,
  type TestServer,
} from './tenant-database.ts';

const FILL = 'UPDATE orders SET total = price * 2, fills = fills + 1 WHERE id BETWEEN $1 AND $2';
const MISSING = 'select count(*) from orders where total is null';
const COLUMNS = 'id bigint PRIMARY KEY, price int NOT NULL, total int, fills int NOT NULL DEFAULT 0';

function backfill(upSql = FILL, fields: Partial<Backfill> = {}) {
  return {
    upSql,
    downSql: '',
    phase: 'migrate' as const,
    transactional: false,
    backfill: { table: 'orders', key: ['id'], batch: 100, verify: MISSING, ...fields },
  };
}

describe('a backfill', () => {
  let server: TestServer;
  let database: TenantDatabase;

  before(async () => {
    server = await makeTestServer();
  });
  after(() => server.drop());
  beforeEach(async () => {
    database = await server.makeDatabase();
  });

  async function asOwner(sql: string): Promise<void> {
    await run(database.superuser, `SET ROLE ${database.ownerRole}; ${sql}`);
  }

  async function orders(rows: number, columns = COLUMNS): Promise<void> {
    await asOwner(`CREATE TABLE orders (${columns});
      INSERT INTO orders (id, price) SELECT n * 3, n FROM generate_series(1, ${rows}) AS n`);
  }

  function request(migrations: Migration[], more: Partial<ApplyRequest> = {}): ApplyRequest {
    const applicationName = `fleet:${randomUUID()}:1`;
    return { ownerRole: database.ownerRole, migrations, release: 'r', applicationName, ...more };
  }

  async function apply(migrations: Migration[], more: Partial<ApplyRequest> = {}) {
    return applyMigrations(database.address, request(migrations, more));
  }

  async function failure(migrations: Migration[], more: Partial<ApplyRequest> = {}): Promise<FleetError> {
    const error: unknown = await apply(migrations, more).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert(error instanceof FleetError, String(error));
    return error;
  }

  /** Rows by how often they were filled, and what became of the state. */
  async function outcome() {
    const [row] = await read<{ fills: unknown; left: number; names: string[] }>(
      database.superuser,
      `SELECT (SELECT json_object_agg(fills, n) FROM (SELECT fills, count(*) AS n FROM orders GROUP BY fills) f) AS fills,
              (SELECT count(*)::int FROM fleet.backfills) AS left,
              ARRAY(SELECT name FROM pgmigrations ORDER BY id) AS names`,
    );
    return row;
  }

  it('goes through all rows in chunks, verifies, and is recorded like any migration', async () => {
    await orders(1_050);
    const counts: BackfillCount[] = [];
    const migrations = await published(backfill());
    const result = await apply(migrations, { backfill: { onProgress: (count) => counts.push(count) } });
    assert.deepEqual([result.applied, result.rows], [['0001_m'], 1_050]);
    assert.deepEqual(await outcome(), { fills: { 1: 1_050 }, left: 0, names: ['0001_m'] });
    assert.deepEqual([counts[0]?.rowsDone, counts.at(-1)?.rowsDone], [0, 1_050]);
    assert.ok(counts.length > 5, `${counts.length} chunks`);
    assert.ok((counts.at(-1)?.rate ?? 0) > 0);
    const recorded = await read(database.superuser, 'SELECT name, checksum FROM fleet.migrations');
    assert.deepEqual(recorded, [{ name: '0001_m', checksum: migrations[0]?.checksum }]);
    assert.deepEqual((await apply(migrations)).applied, []);
  });

  it('has nothing to do in a table without rows', async () => {
    await orders(0);
    assert.deepEqual((await apply(await published(backfill()))).applied, ['0001_m']);
  });

  it('stands in the way of later migrations until it is verified', async () => {
    await orders(50);
    const later = 'ALTER TABLE orders ALTER COLUMN total SET NOT NULL';
    const migrations = await published(
      backfill('UPDATE orders SET fills = 1 WHERE id BETWEEN $1 AND $2'),
      later,
    );
    const error = await failure(migrations);
    assert.equal(error.code, 'backfill_unverified');
    assert.match(error.message, /answers 50, not 0/);
    assert.match(error.fix ?? '', /default or the table a trigger/);
    assert.deepEqual((await outcome())?.names, []);
    await asOwner('UPDATE orders SET total = 1');
    assert.deepEqual((await apply(migrations)).applied, ['0001_m', '0002_m']);
    assert.deepEqual((await outcome())?.fills, { 1: 50 });
  });

  it('goes by a key of several columns, and asks its verification by ranges', async () => {
    await asOwner(`CREATE TABLE "Sales Rows" (tenant text, day date, amount int, done int NOT NULL DEFAULT 0,
        PRIMARY KEY (tenant, day));
      INSERT INTO "Sales Rows" SELECT 't''' || n % 7, date '2026-01-01' + n / 7, n FROM generate_series(0, 699) AS n`);
    const fields = {
      table: 'Sales',
      key: ['tenant', 'day'],
      verify: 'select count(*) from sales where (tenant, day) between $1 and $2 and done <> 1',
    };
    await asOwner(
      'ALTER TABLE "Sales Rows" RENAME TO sales; ALTER TABLE sales RENAME COLUMN amount TO "Amount"',
    );
    const sql = 'UPDATE sales SET done = done + 1 WHERE (tenant, day) BETWEEN $1 AND $2';
    await apply(await published(backfill(sql, { ...fields, table: 'public.sales' })));
    const rows = await read(database.superuser, 'SELECT done, count(*)::int AS n FROM sales GROUP BY done');
    assert.deepEqual(rows, [{ done: 1, n: 700 }]);
  });

  it('refuses a key by which rows could be left out or met twice, and names those that do', async () => {
    await asOwner(`CREATE TABLE orders (id bigint PRIMARY KEY, a int NOT NULL, b int, c int NOT NULL, d int NOT NULL,
        total int, price int);
      CREATE UNIQUE INDEX ON orders (a, c); CREATE UNIQUE INDEX ON orders (b); CREATE INDEX ON orders (d);
      CREATE UNIQUE INDEX ON orders (c) WHERE c > 0; CREATE UNIQUE INDEX ON orders (d, a DESC)`);
    for (const key of [['a'], ['b'], ['c'], ['d'], ['c', 'a'], ['d', 'a'], ['none']]) {
      const error = await failure(await published(backfill(FILL, { key })));
      assert.equal(error.code, 'backfill_key_unusable', key.join());
      assert.equal(error.fix, 'use key="id" or key="a,c"');
    }
    const gone = await failure(await published(backfill(FILL, { table: 'other' })));
    assert.equal(gone.code, 'backfill_table_missing');
  });

  it('leaves out ranges that fail, names them at the end, and tries them again at the retry', async () => {
    await orders(500, `${COLUMNS}, CHECK (total <> 300), CHECK (total <> 900)`);
    const migrations = await published(backfill());
    const error = await failure(migrations);
    assert.equal(error.code, 'backfill_quarantined');
    assert.match(error.message, /left out 2 ranges .* id \d+ … \d+ \(\d+ rows\).*SQLSTATE 23514/);
    const left = await read<{ n: number }>(
      database.superuser,
      `SELECT count(*)::int AS n FROM orders WHERE fills = 0`,
    );
    assert.ok((left[0]?.n ?? 99) <= 20, 'at most ten rows each');
    await asOwner('UPDATE orders SET price = 1 WHERE price IN (150, 450)');
    await apply(migrations);
    assert.deepEqual((await outcome())?.fills, { 1: 500 });
  });

  it('gives up early where all ranges fail, and at once where the statement itself does', async () => {
    await orders(1_000, `${COLUMNS}, CHECK (total < 0)`);
    const error = await failure(await published(backfill(FILL, { batch: 10 })));
    assert.match(error.message, /left out 21 ranges/);
    const wrong = await failure(
      await published(backfill('UPDATE orders SET none = 1 WHERE id BETWEEN $1 AND $2', { table: 'orders' })),
    );
    assert.equal(wrong.code, 'migration_failed');
    assert.match(wrong.message, /SQLSTATE 42703/);
  });

  it('splits chunks that take too long, and never holds a transaction for two seconds', async () => {
    await orders(300);
    await asOwner(`CREATE TABLE chunks (seconds float8);
      CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.008); RETURN NEW; END $$;
      CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO chunks VALUES (extract(epoch FROM clock_timestamp() - now())); RETURN NULL; END $$;
      CREATE TRIGGER slow BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION slow();
      CREATE TRIGGER note AFTER UPDATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION note()`);
    await apply(await published(backfill(FILL, { batch: 250 })));
    assert.deepEqual((await outcome())?.fills, { 1: 300 });
    const [longest] = await read<{ most: number; n: number }>(
      database.superuser,
      'SELECT max(seconds) AS most, count(*)::int AS n FROM chunks',
    );
    assert.ok((longest?.most ?? 9) < 2 && (longest?.n ?? 0) >= 3, JSON.stringify(longest));
  });

  it('is held within two chunks, says why, and goes on by itself', async () => {
    await orders(2_000);
    let asked = 0;
    const counts: BackfillCount[] = [];
    const held: BackfillCount[] = [];
    const control = {
      throttle: () => {
        asked += 1;
        const late = asked > 5 && asked <= 8;
        return Promise.resolve(late ? { reason: 'replica is 5 s behind', againMs: 30 } : null);
      },
      onProgress: (count: BackfillCount) => void (count.reason === null ? counts : held).push(count),
    };
    await apply(await published(backfill()), { backfill: control });
    // The first count is that of the beginning.
    const before = counts[5];
    assert.ok(held.length >= 3 && held.every(({ rowsDone }) => rowsDone === before?.rowsDone));
    assert.ok(held.every(({ reason }) => reason === 'replica is 5 s behind'));
    assert.ok((held.at(-1)?.heldMs ?? 0) >= 80 && counts.at(-1)?.heldMs === held.at(-1)?.heldMs);
    assert.deepEqual((await outcome())?.fills, { 1: 2_000 });
  });

  it('stops behind a chunk, also while it is held, and goes on from there', async () => {
    await orders(1_000);
    const migrations = await published(backfill());
    let done = 0;
    const stopped = {
      isStopping: () => done >= 300,
      onProgress: (count: BackfillCount) => (done = count.rowsDone),
    };
    await assert.rejects(apply(migrations, { backfill: stopped }), BackfillStoppedError);
    assert.deepEqual((await outcome())?.left, 1);
    let asked = 0;
    const throttle = () => {
      asked += 1;
      return Promise.resolve({ reason: 'for ever' });
    };
    await assert.rejects(
      apply(migrations, { backfill: { throttle, isStopping: () => asked > 0 } }),
      BackfillStoppedError,
    );
    const first: number[] = [];
    await apply(migrations, { backfill: { onProgress: ({ rowsDone }) => first.push(rowsDone) } });
    assert.equal(first[0], done);
    assert.deepEqual(await outcome(), { fills: { 1: 1_000 }, left: 0, names: ['0001_m'] });
  });

  it('also fills what comes behind the end while it runs', async () => {
    await orders(500);
    let added = 0;
    const throttle = async () => {
      added += 1;
      if (added <= 5) await asOwner(`INSERT INTO orders (id, price) VALUES (${10_000 + added}, 1)`);
      return null;
    };
    await apply(await published(backfill()), { backfill: { throttle } });
    assert.deepEqual((await outcome())?.fills, { 1: 505 });
  });

  it('begins anew where its column was taken back meanwhile', async () => {
    await orders(300, 'id bigint PRIMARY KEY, price int NOT NULL, fills int NOT NULL DEFAULT 0');
    const column = {
      upSql: 'ALTER TABLE orders ADD COLUMN total int',
      downSql: 'ALTER TABLE orders DROP COLUMN total',
    };
    const migrations = await published(column, backfill());
    let done = 0;
    const stopped = {
      isStopping: () => done > 0,
      onProgress: (count: BackfillCount) => (done = count.rowsDone),
    };
    await assert.rejects(apply(migrations, { backfill: stopped }), BackfillStoppedError);
    const back = { ...request(migrations), downTo: null };
    assert.deepEqual((await revertMigrations(database.address, back)).reverted, ['0001_m']);
    await apply(migrations);
    const rows = await read(database.superuser, 'SELECT 1 FROM orders WHERE total IS NULL');
    assert.deepEqual(rows, []);
  });
});
