import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import type { Migration } from '../../../control-plane/releases/release.ts';
import { withClient } from '../../../platform/pg.ts';
import { published, read, run, type TenantDatabase } from './tenant-database.ts';

/**
 * A table to fill while it grows. A trigger counts how often each row is updated, one keeps new rows filled, one notes
 * how long each chunk's transaction has lasted.
 */
export async function makeOrders({ superuser, ownerRole }: TenantDatabase, rows: number): Promise<void> {
  await run(
    superuser,
    `SET ROLE ${ownerRole};
     CREATE TABLE orders (id bigint PRIMARY KEY, price int NOT NULL, total int, updates int NOT NULL DEFAULT 0);
     INSERT INTO orders (id, price) SELECT n * 2, n % 1000 FROM generate_series(1, ${rows}) AS n;
     CREATE TABLE chunks (seconds float8, rows bigint);
     CREATE FUNCTION count_updates() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN NEW.updates := OLD.updates + 1; RETURN NEW; END $$;
     CREATE FUNCTION fill_new() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN NEW.total := NEW.price * 2; RETURN NEW; END $$;
     CREATE FUNCTION note_chunk() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN INSERT INTO chunks SELECT extract(epoch FROM clock_timestamp() - now()), count(*) FROM changed;
          RETURN NULL; END $$;
     CREATE TRIGGER count_updates BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION count_updates();
     CREATE TRIGGER fill_new BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION fill_new();
     CREATE TRIGGER note_chunk AFTER UPDATE ON orders REFERENCING NEW TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION note_chunk();
     RESET ROLE; ANALYZE orders`,
  );
}

/** The body is no repeatable one: a row that it meets twice shows in `total` as well. */
export function fillOrders(batch: number): Promise<Migration[]> {
  return published({
    upSql: `UPDATE orders SET total = coalesce(total, 0) + price * 2
             WHERE id BETWEEN $1 AND $2 AND total IS DISTINCT FROM price * 2`,
    phase: 'migrate',
    transactional: false,
    backfill: {
      table: 'orders',
      key: ['id'],
      batch,
      verify: 'select count(*) from orders where id between $1 and $2 and total is null',
    },
  });
}

/** Adds rows, between the others and behind them, until it is stopped; answers how many. */
export function keepAdding(
  { superuser, ownerRole }: TenantDatabase,
  rows: number,
): { stop: () => Promise<number> } {
  let stopped = false;
  const adding = withClient(superuser, { applicationName: 'test-writer' }, async (client) => {
    await client.query(`SET ROLE ${ownerRole}`);
    let added = 0;
    while (!stopped) {
      added += 1;
      const between = 1 + 2 * Math.floor((rows * ((added * 0.618) % 1)) % rows);
      await client.query('INSERT INTO orders (id, price) VALUES ($1, 7), ($2, 7) ON CONFLICT DO NOTHING', [
        between,
        rows * 2 + added,
      ]);
      await wait(2);
    }
    return added;
  });
  return {
    stop: () => {
      stopped = true;
      return adding;
    },
  };
}

/** Every row is right, those of the beginning were updated exactly once, and no chunk lasted two seconds. */
export async function checkOrders({ superuser }: TenantDatabase, rows: number): Promise<void> {
  const [found] = await read<Record<string, number>>(
    superuser,
    `SELECT count(*) FILTER (WHERE id % 2 = 0 AND id <= $1 * 2 AND updates = 1)::int AS once,
            count(*) FILTER (WHERE updates > 1)::int AS twice,
            count(*) FILTER (WHERE total IS DISTINCT FROM price * 2)::int AS wrong,
            (SELECT count(*) FROM chunks WHERE seconds > 2)::int AS long,
            (SELECT count(*) FROM pgmigrations)::int AS recorded,
            (SELECT count(*) FROM fleet.backfills)::int AS left
       FROM orders`,
    [rows],
  );
  assert.deepEqual(found, { once: rows, twice: 0, wrong: 0, long: 0, recorded: 1, left: 0 });
}

/** Rows that the database says are through. */
export async function rowsDone({ superuser }: TenantDatabase): Promise<number> {
  const [state] = await read<{ done: string }>(superuser, 'SELECT rows_done AS done FROM fleet.backfills');
  return Number(state?.done ?? 0);
}
