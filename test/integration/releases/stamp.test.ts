import assert from 'node:assert/strict';
import {
  applyMigrations,
  type ApplyRequest,
  type ApplyResult,
} from '../../../control-plane/releases/apply.ts';
import { FleetError } from '../../../platform/errors.ts';
import { withClient } from '../../../platform/pg.ts';
import { revertMigrations } from '../../../control-plane/releases/revert.ts';
import type { Migration } from '../../../control-plane/releases/release.ts';
import { SCHEMA_SQL } from '../../../control-plane/releases/schema-sql.ts';
import {
  CATALOGUES,
  isSameStamp,
  readStamp,
  type SchemaStamp,
} from '../../../control-plane/releases/stamp.ts';
import {
  makeTestServer,
  published,
  read,
  run,
  type TenantDatabase,
  type TestServer,
} from './tenant-database.ts';

/** Each changes the schema, by writing one catalogue or several. */
const CHANGES = [
  'ALTER TABLE a ADD extra text',
  'ALTER TABLE a ALTER n SET DEFAULT 4',
  'ALTER TABLE a ADD CONSTRAINT small CHECK (n < 10) NOT VALID',
  'ALTER TABLE a VALIDATE CONSTRAINT small',
  'CREATE INDEX CONCURRENTLY a_note ON a (note)',
  'CREATE TABLE kids () INHERITS (a)',
  'ALTER TABLE kids NO INHERIT a',
  'ALTER SEQUENCE a_id_seq OWNED BY NONE',
  'ALTER SEQUENCE a_id_seq INCREMENT 2',
  "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
  "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'",
  'CREATE VIEW v AS SELECT n FROM a',
  'CREATE OR REPLACE VIEW v AS SELECT n FROM a WHERE n > 0',
  "CREATE TYPE mood AS ENUM ('good')",
  "ALTER TYPE mood ADD VALUE 'bad'",
  'CREATE RULE nothing AS ON DELETE TO a DO INSTEAD NOTHING',
  'ALTER TABLE a DISABLE RULE nothing',
  'ALTER TABLE a ENABLE ROW LEVEL SECURITY',
  'CREATE POLICY mine ON a USING (n = 1)',
  'ALTER POLICY mine ON a USING (n = 2)',
  'GRANT SELECT ON a TO PUBLIC',
  'GRANT UPDATE (n) ON a TO PUBLIC',
  'GRANT CREATE ON SCHEMA public TO PUBLIC',
  'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC',
  'CREATE STATISTICS both_of ON n, note FROM a',
  'DROP STATISTICS both_of',
  'DROP TABLE kids',
];

describe('the stamp of a schema', () => {
  let server: TestServer;
  let database: TenantDatabase;
  let migrations: Migration[];
  let looks: string[][];

  before(async () => {
    server = await makeTestServer();
    migrations = await published(
      'CREATE TABLE a (id serial PRIMARY KEY, n int, note text)',
      { upSql: 'ALTER TABLE a ADD more int', downSql: 'ALTER TABLE a DROP more' },
      { upSql: 'INSERT INTO a (n) VALUES (1)', downSql: 'DELETE FROM a' },
      {
        upSql: 'CREATE INDEX CONCURRENTLY a_n ON a (n)',
        downSql: 'DROP INDEX CONCURRENTLY a_n',
        transactional: false,
      },
      'CREATE TABLE b (id int)',
    );
  });
  after(() => server.drop());
  beforeEach(async () => {
    database = await server.makeDatabase();
    looks = [];
  });

  const request = (
    upTo: number,
    stamp: SchemaStamp | null,
    more: Partial<ApplyRequest> = {},
  ): ApplyRequest => ({
    ownerRole: database.ownerRole,
    migrations: migrations.slice(0, upTo),
    believed: stamp?.version,
    guard: { stamp, prove: async (_client, applied) => void looks.push([...applied]) },
    release: 'r',
    applicationName: 'fleet:test:1',
    ...more,
  });
  const apply = (
    upTo: number,
    stamp: SchemaStamp | null,
    more: Partial<ApplyRequest> = {},
  ): Promise<ApplyResult> => applyMigrations(database.address, request(upTo, stamp, more));

  async function stampNow(version: string | null): Promise<SchemaStamp> {
    const stamp = await withClient(database.superuser, { applicationName: 'test' }, (client) =>
      readStamp(client, version),
    );
    assert.ok(stamp !== null);
    return stamp;
  }

  it('counts what is written in every catalogue that a schema is read from', async () => {
    const words = new Set(SCHEMA_SQL.match(/\bpg_[a-z_]+/g));
    const rows = await read<{ name: string; oid: number }>(
      database.superuser,
      `SELECT relname AS name, oid::int FROM pg_class
        WHERE relname = ANY ($1) AND relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'`,
      [[...words]],
    );
    assert.deepEqual(
      new Map(rows.map(({ name, oid }) => [name, oid])),
      new Map(Object.entries(CATALOGUES).filter(([name]) => words.has(name))),
    );
    assert.equal(rows.length, Object.keys(CATALOGUES).length);
  });

  it('differs after each change by hand, and after nothing else', async () => {
    await apply(1, null);
    await withClient(database.superuser, { applicationName: 'test' }, async (client) => {
      await client.query('SET stats_fetch_consistency = none');
      let last = await readStamp(client, null);
      await client.query(
        'INSERT INTO a (n) SELECT generate_series(1, 100); UPDATE a SET n = 3; DELETE FROM a',
      );
      await client.query('VACUUM ANALYZE');
      assert.deepEqual(await readStamp(client, null), last, 'rows of a table are not its schema');
      for (const sql of CHANGES) {
        await client.query(sql);
        const next = await readStamp(client, null);
        assert.ok(next !== null && last !== null && next.changes > last.changes, sql);
        last = next;
      }
    });
  });

  it('spares the next migration a look, whatever the last one did in a transaction', async () => {
    const first = await apply(1, null);
    assert.deepEqual([looks, first.applied], [[[]], ['0001_m']]);
    assert.deepEqual(first.stamp, await stampNow('0001_m'));
    const { stamp } = await apply(3, first.stamp);
    assert.deepEqual(stamp, await stampNow('0003_m'));
    const down = { ...request(3, stamp), downTo: '0001_m' };
    const back = await revertMigrations(database.address, down);
    assert.deepEqual([back.reverted, back.stamp], [['0003_m', '0002_m'], await stampNow('0001_m')]);
    assert.equal(looks.length, 1);
    // The careful way goes by it too.
    const again = await apply(2, back.stamp, { believed: undefined });
    assert.deepEqual([looks.length, again.stamp], [1, await stampNow('0002_m')]);
  });

  it('has the schema looked at after a change by hand, and is then good again', async () => {
    const first = await apply(1, null);
    await run(database.superuser, 'CREATE TABLE planted (id int)');
    const second = await apply(2, first.stamp);
    assert.deepEqual(looks, [[], ['0001_m']]);
    assert.deepEqual(second.stamp, await stampNow('0002_m'));
    await run(database.superuser, 'DROP TABLE planted');
    const refuse = (): Promise<void> =>
      Promise.reject(new FleetError({ code: 'no', status: 409, message: 'no' }));
    await assert.rejects(apply(3, second.stamp, { guard: { stamp: second.stamp, prove: refuse } }), {
      code: 'no',
    });
    const rows = await read(database.superuser, 'SELECT name FROM pgmigrations');
    assert.equal(rows.length, 2, 'it was changed all the same');
  });

  it('is of one version: a record that was changed by hand is not believed', async () => {
    const { stamp } = await apply(2, null);
    await run(database.superuser, "DELETE FROM pgmigrations WHERE name = '0002_m'");
    await assert.rejects(apply(2, stamp, { believed: '0001_m' }), { code: 'migration_failed' });
    assert.deepEqual(looks, [[], ['0001_m']]);
  });

  it('is not known after what ran outside a transaction or had to wait for locks', async () => {
    const first = await apply(3, null);
    const fourth = await apply(4, first.stamp);
    assert.equal(fourth.stamp, null);
    await withClient(database.superuser, { applicationName: 'test' }, async (holder) => {
      await holder.query('BEGIN; LOCK TABLE pgmigrations IN SHARE MODE');
      let waits = 0;
      // Asked in each try: the first one waits in vain.
      const findBlockers = async (): Promise<[]> => {
        waits += 1;
        if (waits === 2) await holder.query('COMMIT');
        return [];
      };
      const impatient = migrations.map((migration) => ({ ...migration, lockTimeoutMs: 50 }));
      const waiting = apply(5, await stampNow('0004_m'), { migrations: impatient, findBlockers });
      const { stamp, lockWaitMs } = await waiting;
      assert.deepEqual([stamp, lockWaitMs > 0], [null, true]);
    });
    assert.equal(looks.length, 1);
  });

  it('is not asked for where a migration stands half done', async () => {
    const { stamp } = await apply(3, null);
    await run(database.superuser, 'INSERT INTO a (n) VALUES (1); CREATE UNIQUE INDEX a_n ON a (note)');
    await assert.rejects(apply(4, stamp), { code: 'migration_failed' });
    assert.equal(looks.length, 2);
    // What the failed build may have left is its own to clear away.
    await run(database.superuser, 'DROP INDEX a_n');
    assert.deepEqual((await apply(4, stamp)).applied, ['0004_m']);
    assert.equal(looks.length, 2);
    assert.deepEqual(await read(database.superuser, 'SELECT * FROM fleet.progress'), []);
  });

  it('tells reset counters from untouched ones', async () => {
    const { stamp } = await apply(1, null);
    assert.ok(isSameStamp(await stampNow('0001_m'), stamp));
    await run(database.superuser, 'SELECT pg_stat_reset_single_table_counters(1259)');
    assert.notEqual((await stampNow('0001_m')).databaseSince, stamp?.databaseSince);
    await apply(2, stamp);
    assert.equal(looks.length, 2);
  });

  it('is none where the server does not count', async () => {
    const { stamp } = await apply(1, null);
    const database_ = database.superuser.database;
    await run(database.superuser, `ALTER DATABASE ${database_} SET track_counts = off`);
    assert.equal((await apply(2, stamp)).stamp, null);
    assert.equal(looks.length, 2);
  });
});
