import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { applyMigrations, type ApplyRequest } from '../../../control-plane/releases/apply.ts';
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

const ROLLOUT = randomUUID();

function request(
  database: TenantDatabase,
  migrations: Migration[],
  more: Partial<ApplyRequest> = {},
): ApplyRequest {
  return {
    ownerRole: database.ownerRole,
    migrations,
    release: '2026.11.1',
    applicationName: `fleet:${ROLLOUT}:1`,
    ...more,
  };
}

function apply(database: TenantDatabase, migrations: Migration[], more: Partial<ApplyRequest> = {}) {
  return applyMigrations(database.address, request(database, migrations, more));
}

async function names(database: TenantDatabase): Promise<string[]> {
  const rows = await read<{ name: string }>(database.superuser, 'SELECT name FROM pgmigrations ORDER BY id');
  return rows.map(({ name }) => name);
}

function isFleetError(code: string, pattern = /./, retryable?: boolean) {
  return (error: unknown): boolean => {
    assert(error instanceof FleetError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, pattern);
    if (retryable !== undefined) assert.equal(error.retryable, retryable);
    return true;
  };
}

/** Waits until a session of ours is inside a statement that matches. */
function untilRunning(database: TenantDatabase, pattern: string): Promise<{ pid: number }> {
  return until(`a session runs ${pattern}`, async () => {
    const [row] = await read<{ pid: number }>(
      database.superuser,
      `SELECT pid FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'fleet:%'
          AND state = 'active' AND query ~ $2`,
      [database.address.database, pattern],
    );
    return row;
  });
}

describe('applying migrations to a database', () => {
  let server: TestServer;
  let database: TenantDatabase;

  before(async () => {
    server = await makeTestServer();
  });
  after(() => server.drop());
  beforeEach(async () => {
    database = await server.makeDatabase();
  });

  it('applies each once, as the owner, and records it with its checksum', async () => {
    const list = await published('CREATE TABLE a (id int)', 'ALTER TABLE a ADD note text');
    const first = await apply(database, list.slice(0, 1));
    assert.deepEqual([first.applied, first.schemaVersion], [['0001_m'], '0001_m']);
    const second = await apply(database, list);
    assert.deepEqual([second.applied, second.schemaVersion], [['0002_m'], '0002_m']);
    const third = await apply(database, list);
    assert.deepEqual([third.applied, third.schemaVersion], [[], '0002_m']);

    assert.deepEqual(await names(database), ['0001_m', '0002_m']);
    const records = await read(
      database.superuser,
      'SELECT name, checksum, release, application_name FROM fleet.migrations ORDER BY name',
    );
    const application_name = `fleet:${ROLLOUT}:1`;
    assert.deepEqual(
      records,
      list.map(({ name, checksum }) => ({ name, checksum, release: '2026.11.1', application_name })),
    );
    const owners = await read<{ owner: string }>(
      database.superuser,
      `SELECT DISTINCT pg_get_userbyid(relowner) AS owner FROM pg_class WHERE relnamespace = 'public'::regnamespace`,
    );
    assert.deepEqual(owners, [{ owner: database.ownerRole }]);
  });

  it('needs one message where the registry believes right, and asks first where it does not', async () => {
    const list = await published(
      'CREATE TABLE a (id int)',
      'ALTER TABLE a ADD b int',
      'ALTER TABLE a ADD c int',
    );
    const applied = async (count: number, believed: string | null) =>
      (await apply(database, list.slice(0, count), { believed })).applied;
    assert.deepEqual(await applied(1, null), ['0001_m']);
    assert.deepEqual(await applied(2, null), ['0002_m'], 'it has more than is believed');
    assert.deepEqual(await applied(3, '0001_m'), ['0003_m']);
    assert.deepEqual(await applied(3, '0002_m'), [], 'it has all');
    assert.deepEqual(await names(database), ['0001_m', '0002_m', '0003_m']);
  });

  it('finds an edited migration, and a newer owner, though it is believed to know', async () => {
    const list = await published('CREATE TABLE a (id int)', 'ALTER TABLE a ADD b int');
    await apply(database, list.slice(0, 1));
    const edited = await published('CREATE TABLE a (id bigint)', 'ALTER TABLE a ADD b int');
    await assert.rejects(
      apply(database, edited, { believed: '0001_m' }),
      isFleetError('migration_edited', /0001_m/),
    );
    const newer = { applicationName: `fleet:${ROLLOUT}:9`, endOlderSessions: true };
    await apply(database, list.slice(0, 1), newer);
    await assert.rejects(apply(database, list, { believed: '0001_m' }), isFleetError('migration_fenced'));
    assert.deepEqual(await names(database), ['0001_m']);
  });

  it('tells a migration that divides by zero from a wrong belief', async () => {
    const list = await published('CREATE TABLE a (id int)', 'SELECT 1 / count(*) FROM a');
    await apply(database, list.slice(0, 1));
    await assert.rejects(
      apply(database, list, { believed: '0001_m' }),
      isFleetError('migration_failed', /22012/),
    );
  });

  it('refuses a database that has lost its record', async () => {
    await run(database.superuser, 'DROP TABLE pgmigrations');
    const list = await published('CREATE TABLE a (id int)');
    await assert.rejects(apply(database, list), isFleetError('migration_record_missing'));
    const [found] = await read(database.superuser, "SELECT to_regclass('a') AS made");
    assert.deepEqual(found, { made: null });
  });

  it('keeps nothing of a migration that fails, and all of those before it', async () => {
    const list = await published(
      'CREATE TABLE a (id int); INSERT INTO a VALUES (1)',
      'CREATE TABLE b (id int);\nALTER TABLE a\n  ADD CHECK (id > 1)',
    );
    await assert.rejects(
      apply(database, list),
      isFleetError('migration_failed', /^0002_m failed: check constraint .* \(SQLSTATE 23514\)$/, false),
    );
    assert.deepEqual(await names(database), ['0001_m']);
    const [b] = await read(database.superuser, `SELECT to_regclass('b') AS b`);
    assert.deepEqual(b, { b: null });

    await run(database.superuser, 'UPDATE a SET id = 2');
    assert.deepEqual((await apply(database, list)).applied, ['0002_m']);
  });

  it('names the line of the statement that the server refuses', async () => {
    const list = await published('SELECT 1;\n\nSELECT missing\n  FROM nowhere');
    await assert.rejects(
      apply(database, list),
      isFleetError('migration_failed', /at line 4 of its SQL: relation/),
    );
  });

  it('never tells the rows that violate a constraint', async () => {
    const list = await published(
      `CREATE TABLE a (id text PRIMARY KEY); INSERT INTO a VALUES ('secret-value')`,
      `INSERT INTO a VALUES ('secret-value')`,
    );
    await assert.rejects(apply(database, list), (error: FleetError) => {
      assert.doesNotMatch(JSON.stringify([error.message, error.fix, error.errors]), /secret-value/);
      return error.code === 'migration_failed';
    });
  });

  it('refuses a database that has other migrations, another order or other content', async () => {
    const list = await published('CREATE TABLE a (id int)', 'CREATE TABLE b (id int)');
    await apply(database, list);
    const edited = await published('CREATE TABLE a (id bigint)', 'CREATE TABLE b (id int)');
    await assert.rejects(
      apply(database, edited),
      isFleetError('migration_edited', new RegExp(`${list[0]?.checksum}.*${edited[0]?.checksum}`), false),
    );
    const swapped = list.toReversed();
    await assert.rejects(
      apply(database, swapped),
      isFleetError('migration_out_of_order', /0001_m at place 1/),
    );
    // A shorter list is an older release: the database is ahead of it, and stays.
    assert.deepEqual((await apply(database, list.slice(0, 1))).schemaVersion, '0002_m');
  });

  it('goes on from what node-pg-migrate itself has applied', async () => {
    await run(
      database.superuser,
      `SET ROLE ${database.ownerRole};
       CREATE TABLE a (id int);
       INSERT INTO pgmigrations (name, run_on) VALUES ('0001_m', now())`,
    );
    const list = await published('CREATE TABLE a (id int)', 'ALTER TABLE a ADD b int');
    assert.deepEqual((await apply(database, list)).applied, ['0002_m']);
    assert.deepEqual(await names(database), ['0001_m', '0002_m']);
  });

  it('waits out a lock that is released in time', async () => {
    const list = await published('CREATE TABLE a (id int)', {
      upSql: 'ALTER TABLE a ADD b int',
      lockTimeoutMs: 50,
    });
    await apply(database, list.slice(0, 1));
    await withClient(database.superuser, { applicationName: 'report' }, async (blocker) => {
      await blocker.query('BEGIN; SELECT * FROM a');
      const applying = apply(database, list);
      await untilRunning(database, 'ADD b int');
      await blocker.query('COMMIT');
      assert.deepEqual((await applying).applied, ['0002_m']);
    });
  });

  it('undoes the settings that a migration makes before the next one runs', async () => {
    const list = await published(
      `SET search_path = ''; SET lock_timeout = 0; CREATE TABLE public.a (id int)`,
      `CREATE TABLE b AS SELECT current_setting('lock_timeout') AS lock, current_setting('TimeZone') AS zone,
                               current_user::text AS who`,
    );
    await apply(database, list);
    const rows = await read(database.superuser, 'SELECT * FROM b');
    assert.deepEqual(rows, [{ lock: '2s', zone: 'UTC', who: database.ownerRole }]);
  });

  it('runs deferred triggers as the owner, not as the admin', async () => {
    const list = await published(`
      CREATE TABLE a (who text);
      CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN UPDATE a SET who = current_user; RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER t AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION f();
      INSERT INTO a VALUES ('nobody')`);
    await apply(database, list);
    assert.deepEqual(await read(database.superuser, 'SELECT who FROM a'), [{ who: database.ownerRole }]);
  });

  it('lets one of two at once apply; the other finds nothing to do', async () => {
    const list = await published('CREATE TABLE a (id int); SELECT pg_sleep(0.2)');
    const results = await Promise.all([apply(database, list), apply(database, list), apply(database, list)]);
    const applied = results.flatMap((result) => result.applied);
    assert.deepEqual(applied, ['0001_m']);
    assert.deepEqual(await names(database), ['0001_m']);
  });

  it('says that it is locked while another session migrates for long', async () => {
    const list = await published('CREATE TABLE a (id int)');
    await withClient(database.superuser, { applicationName: 'node-pg-migrate' }, async (other) => {
      await other.query('SELECT pg_advisory_lock(7241865325823964)');
      await assert.rejects(apply(database, list), isFleetError('migration_locked', /./, true));
    });
    assert.deepEqual((await apply(database, list)).applied, ['0001_m']);
  });

  it('reports an unknown outcome when its session dies, and settles it at the next call', async () => {
    const list = await published('CREATE TABLE a (id int); SELECT pg_sleep(30)', 'CREATE TABLE b (id int)');
    const applying = assert.rejects(apply(database, list), isFleetError('migration_unknown', /0001_m/, true));
    const { pid } = await untilRunning(database, 'pg_sleep');
    await read(database.superuser, 'SELECT pg_terminate_backend($1)', [pid]);
    await applying;
    const [state] = await read(database.superuser, `SELECT to_regclass('a') AS a`);
    assert.deepEqual(state, { a: null });
    const quick = await published('CREATE TABLE a (id int)', 'CREATE TABLE b (id int)');
    assert.deepEqual((await apply(database, quick)).applied, ['0001_m', '0002_m']);
  });

  it('cuts its session when told to stop; the server rolls back and frees the lock', async () => {
    const list = await published('CREATE TABLE a (id int); SELECT pg_sleep(30)');
    const stop = new AbortController();
    const applying = assert.rejects(
      apply(database, list, { signal: stop.signal }),
      isFleetError('migration_unknown'),
    );
    await untilRunning(database, 'pg_sleep');
    stop.abort(new Error('the lease is lost'));
    await applying;
    const quick = await published('CREATE TABLE a (id int)');
    assert.deepEqual((await apply(database, quick)).applied, ['0001_m']);
  });

  it('ends the session of an older epoch, and no other', async () => {
    const slow = await published('CREATE TABLE a (id int); SELECT pg_sleep(30)');
    const old = assert.rejects(apply(database, slow), isFleetError('migration_unknown'));
    await untilRunning(database, 'pg_sleep');
    const list = await published('CREATE TABLE a (id int)');
    const stranger = { applicationName: `fleet:${randomUUID()}:9`, endOlderSessions: true };
    await assert.rejects(apply(database, list, stranger), isFleetError('migration_locked'));
    const successor = { applicationName: `fleet:${ROLLOUT}:2`, endOlderSessions: true };
    assert.deepEqual((await apply(database, list, successor)).applied, ['0001_m']);
    await old;
  });

  it('reads what a database has without changing it', async () => {
    const of = { ownerRole: database.ownerRole, applicationName: 'fleet:inspect:1' };
    assert.deepEqual(await inspectDatabase(database.address, of), {
      applied: [],
      schemaVersion: null,
      interrupted: null,
    });
    const list = await published('CREATE TABLE a (id int)');
    await apply(database, list);
    const inspection = await inspectDatabase(database.address, of);
    assert.deepEqual(inspection.applied, [{ name: '0001_m', checksum: list[0]?.checksum }]);
    assert.equal(inspection.schemaVersion, '0001_m');
  });
});
