import assert from 'node:assert/strict';
import { applyMigrations } from '../../../control-plane/releases/apply.ts';
import { inspectDatabase } from '../../../control-plane/releases/inspect.ts';
import type { Migration } from '../../../control-plane/releases/release.ts';
import { FleetError } from '../../../platform/errors.ts';
import { withClient } from '../../../platform/pg.ts';
import { until } from '../../support/until.ts';
import {
  makeTestServer,
  published,
  read,
  run,
  type TenantDatabase,
  type TestServer,
} from './tenant-database.ts';

const TABLE = 'CREATE TABLE a (id int, note text)';
const INDEX = 'CREATE UNIQUE INDEX CONCURRENTLY a_id ON a (id)';

function apply(database: TenantDatabase, migrations: Migration[], signal?: AbortSignal) {
  return applyMigrations(database.address, {
    ownerRole: database.ownerRole,
    migrations,
    release: '2026.11.1',
    applicationName: 'fleet:test:1',
    signal,
  });
}

async function indexes(database: TenantDatabase) {
  return read(
    database.superuser,
    `SELECT c.relname AS name, i.indisvalid AS valid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
      WHERE i.indrelid = 'a'::regclass ORDER BY 1`,
  );
}

async function failureOf(work: Promise<unknown>): Promise<FleetError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert(error instanceof FleetError, String(error));
  return error;
}

describe('applying a migration outside a transaction', () => {
  let server: TestServer;
  let database: TenantDatabase;

  before(async () => {
    server = await makeTestServer();
  });
  after(() => server.drop());
  beforeEach(async () => {
    database = await server.makeDatabase();
  });

  it('builds an index concurrently, as the owner, and records it', async () => {
    const list = await published(TABLE, { upSql: `${INDEX}; VACUUM a;`, transactional: false });
    assert.deepEqual((await apply(database, list)).applied, ['0001_m', '0002_m']);
    assert.deepEqual(await indexes(database), [{ name: 'a_id', valid: true }]);
    const rows = await read(database.superuser, 'SELECT * FROM fleet.progress');
    assert.deepEqual(rows, []);
    assert.deepEqual((await apply(database, list)).applied, []);
  });

  it('rebuilds an index that a failed attempt left invalid', async () => {
    const list = await published(TABLE, { upSql: INDEX, transactional: false });
    await apply(database, list.slice(0, 1));
    await run(database.superuser, 'INSERT INTO a VALUES (1), (1)');
    const failure = await failureOf(apply(database, list));
    assert.equal(failure.code, 'migration_failed');
    assert.match(failure.message, /0002_m failed: could not create unique index .*23505/);
    assert.deepEqual(await indexes(database), [{ name: 'a_id', valid: false }]);

    await run(database.superuser, 'DELETE FROM a');
    assert.deepEqual((await apply(database, list)).applied, ['0002_m']);
    assert.deepEqual(await indexes(database), [{ name: 'a_id', valid: true }]);
  });

  it('rebuilds it under IF NOT EXISTS too, where PostgreSQL would pass over the invalid one', async () => {
    const upSql = 'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS a_id ON a (id)';
    const list = await published(TABLE, { upSql, transactional: false, lockTimeoutMs: 50 });
    await apply(database, list.slice(0, 1));
    await withClient(database.superuser, { applicationName: 'report' }, async (reader) => {
      await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
      const applying = apply(database, list);
      await until('an attempt has failed', async () => (await indexes(database)).some(({ valid }) => !valid));
      await reader.query('COMMIT');
      assert.deepEqual((await applying).applied, ['0002_m']);
    });
    assert.deepEqual(await indexes(database), [{ name: 'a_id', valid: true }]);
  });

  it('takes an index for done that was built and not yet recorded, but no namesake', async () => {
    const list = await published(TABLE, { upSql: INDEX, transactional: false });
    await apply(database, list.slice(0, 1));
    await run(database.superuser, `SET ROLE ${database.ownerRole}; CREATE INDEX a_id ON a (note)`);
    const failure = await failureOf(apply(database, list));
    assert.match(failure.message, /already exists \(SQLSTATE 42P07\)/);

    await run(
      database.superuser,
      `DROP INDEX a_id; SET ROLE ${database.ownerRole}; CREATE UNIQUE INDEX a_id ON a (id)`,
    );
    assert.deepEqual((await apply(database, list)).applied, ['0002_m']);
  });

  it('tells an index from a namesake with another predicate, expression or INCLUDE', async () => {
    const upSql = `CREATE INDEX CONCURRENTLY a_id ON a (lower(note)) INCLUDE (id) WHERE note <> 'x'`;
    const list = await published(TABLE, { upSql, transactional: false });
    await apply(database, list.slice(0, 1));
    const others = [
      `(lower(note)) INCLUDE (id) WHERE note <> 'y'`,
      `(upper(note)) INCLUDE (id) WHERE note <> 'x'`,
      `(lower(note)) WHERE note <> 'x'`,
    ];
    for (const other of others) {
      await run(database.superuser, `SET ROLE ${database.ownerRole}; CREATE INDEX a_id ON a ${other}`);
      assert.match((await failureOf(apply(database, list))).message, /SQLSTATE 42P07/, other);
      await run(database.superuser, 'DROP INDEX a_id');
    }
    await run(
      database.superuser,
      `SET ROLE ${database.ownerRole}; ${upSql.replace('CONCURRENTLY', '')}; COMMENT ON INDEX a_id IS 'kept'`,
    );
    assert.deepEqual((await apply(database, list)).applied, ['0002_m']);
    const [kept] = await read(database.superuser, `SELECT obj_description('a_id'::regclass) AS note`);
    assert.deepEqual(kept, { note: 'kept' });
  });

  it('drops an index once, also when an earlier attempt has dropped it', async () => {
    const drop = { upSql: 'DROP INDEX CONCURRENTLY a_id', transactional: false };
    const list = await published(`${TABLE}; CREATE INDEX a_id ON a (id)`, drop);
    await apply(database, list.slice(0, 1));
    await run(database.superuser, 'DROP INDEX a_id');
    assert.deepEqual((await apply(database, list)).applied, ['0002_m']);
  });

  it('goes on behind the last statement that was done, which is not repeated', async () => {
    const upSql = 'INSERT INTO a VALUES (1); INSERT INTO a VALUES (2); ALTER TABLE a ADD CHECK (id < 2)';
    const list = await published(TABLE, { upSql, transactional: false });
    const failure = await failureOf(apply(database, list));
    assert.match(failure.message, /23514/);
    const { interrupted } = await inspectDatabase(database.address, {
      ownerRole: database.ownerRole,
      applicationName: 'fleet:test:1',
    });
    assert.deepEqual(interrupted, { migration: '0002_m', statementsDone: 2 });

    await run(database.superuser, 'DELETE FROM a WHERE id = 2');
    assert.deepEqual((await apply(database, list)).applied, ['0002_m']);
    assert.deepEqual(await read(database.superuser, 'SELECT id FROM a'), [{ id: 1 }]);
  });

  it('is taken up again after its session was cut in the middle of a build', async () => {
    const upSql = `INSERT INTO a VALUES (1); ${INDEX}; INSERT INTO a VALUES (2)`;
    const list = await published(TABLE, { upSql, transactional: false });
    await apply(database, list.slice(0, 1));
    await withClient(database.superuser, { applicationName: 'report' }, async (reader) => {
      // An open snapshot holds the build in its last wait, with the index there and not valid.
      await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
      const stop = new AbortController();
      const applying = failureOf(apply(database, list, stop.signal));
      await until('the build waits', async () => (await indexes(database)).some(({ valid }) => !valid));
      stop.abort();
      assert.equal((await applying).code, 'migration_unknown');
      await reader.query('COMMIT');
    });
    assert.deepEqual((await apply(database, list)).applied, ['0002_m']);
    assert.deepEqual(await indexes(database), [{ name: 'a_id', valid: true }]);
    assert.deepEqual(await read(database.superuser, 'SELECT id FROM a ORDER BY id'), [{ id: 1 }, { id: 2 }]);
  });

  it('drops what a killed REINDEX CONCURRENTLY left behind', async () => {
    const reindex = { upSql: 'REINDEX INDEX CONCURRENTLY a_id', transactional: false };
    const list = await published(`${TABLE}; CREATE INDEX a_id ON a (id)`, reindex);
    await apply(database, list.slice(0, 1));
    await run(
      database.superuser,
      `SET ROLE ${database.ownerRole}; CREATE INDEX a_id_ccnew ON a (id); RESET ROLE;
       UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'a_id_ccnew'::regclass`,
    );
    assert.deepEqual((await apply(database, list)).applied, ['0002_m']);
    assert.deepEqual(await indexes(database), [{ name: 'a_id', valid: true }]);
  });
});
