import assert from 'node:assert/strict';
import { applyMigrations } from '../../../control-plane/releases/apply.ts';
import { FleetError } from '../../../platform/errors.ts';
import {
  makeTestServer,
  published,
  read,
  run,
  type TenantDatabase,
  type TestServer,
} from './tenant-database.ts';

/** What only an admin may do; each as dynamic SQL after leaving the owner's role, which no reading of text finds. */
const BEYOND: Record<string, (other: TenantDatabase) => string> = {
  'make a role': () => 'CREATE ROLE escaped_from_its_owner',
  'become the admin': (other) => `SET ROLE ${other.admin.user}`,
  'let itself into another database': (other) =>
    `GRANT ALL ON DATABASE ${other.address.database} TO PUBLIC; SET ROLE ${other.ownerRole};
     ALTER DATABASE ${other.address.database} SET search_path = nowhere`,
  'rename another database as its owner': (other) =>
    `SET ROLE ${other.ownerRole}; ALTER DATABASE ${other.address.database} RENAME TO stolen`,
  'end other sessions': (other) =>
    `PERFORM 1 / (SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE usename = '${other.superuser.user}') x WHERE false)`,
  'change the marker': () => 'UPDATE fleet.identity SET tenant_id = gen_random_uuid()',
  'read files': () => "COPY (SELECT 1) TO PROGRAM 'true'",
};

/** Ways to leave the owner's role. */
const WAYS = {
  'RESET ROLE': "EXECUTE replace('RESET_ROLE', '_', ' ')",
  'SET ROLE NONE': "EXECUTE replace('SET_ROLE_NONE', '_', ' ')",
  'RESET SESSION AUTHORIZATION': "EXECUTE replace('RESET_SESSION_AUTHORIZATION', '_', ' ')",
};

describe('a migration that leaves its role', () => {
  let server: TestServer;
  let database: TenantDatabase;
  let other: TenantDatabase;

  before(async () => {
    server = await makeTestServer();
    other = await server.makeDatabase();
  });
  after(() => server.drop());
  beforeEach(async () => {
    database = await server.makeDatabase();
  });

  const apply = async (...sql: Parameters<typeof published>) =>
    applyMigrations(database.address, {
      ownerRole: database.ownerRole,
      migrations: await published(...sql),
      release: '2026.11.1',
      applicationName: 'fleet:test:1',
    });

  for (const [deed, sqlOf] of Object.entries(BEYOND)) {
    for (const [way, leave] of Object.entries(WAYS)) {
      it(`cannot ${deed} after ${way}`, async () => {
        const upSql = `DO $$ BEGIN ${leave}; ${sqlOf(other)}; END $$`;
        for (const transactional of [true, false]) {
          await assert.rejects(apply({ upSql, transactional }), (error: unknown) => {
            assert(error instanceof FleetError, String(error));
            assert.equal(error.code, 'migration_failed');
            assert.match(error.message, /42501|22012/);
            return true;
          });
        }
        const [state] = await read(
          database.superuser,
          `SELECT (SELECT count(*)::int FROM pgmigrations) AS applied,
                  (SELECT count(*)::int FROM pg_roles WHERE rolname = 'escaped_from_its_owner') AS roles,
                  (SELECT count(*)::int FROM pg_database WHERE datname = 'stolen') AS stolen`,
        );
        assert.deepEqual(state, { applied: 0, roles: 0, stolen: 0 });
      });
    }
  }

  it('is not recorded, and nothing of it stays', async () => {
    const leaving = `CREATE TABLE a (id int); DO $$ BEGIN ${WAYS['SET ROLE NONE']}; END $$`;
    await assert.rejects(apply(leaving), { code: 'migration_failed' });
    const [found] = await read(
      database.superuser,
      "SELECT (SELECT count(*)::int FROM pgmigrations) AS applied, to_regclass('a') AS made",
    );
    assert.deepEqual(found, { applied: 0, made: null });
  });

  it('may use save points, temporary tables and SELECT INTO, and its deferred triggers run as the owner', async () => {
    await apply(
      `CREATE TABLE a (id int); CREATE TABLE seen (who text);
       CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO seen VALUES (current_user); RETURN NEW; END $$;
       CREATE CONSTRAINT TRIGGER t AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f();
       SAVEPOINT s; INSERT INTO a VALUES (1); RELEASE SAVEPOINT s;
       CREATE TEMP TABLE t AS SELECT 1; SELECT 1 AS one INTO kept`,
    );
    assert.deepEqual(await read(database.superuser, 'SELECT who FROM seen'), [{ who: database.ownerRole }]);
  });

  it('cannot enter another database of the server with the sessions of its own tenant', async () => {
    await run(other.superuser, 'CREATE TABLE private (n int)');
    await assert.rejects(apply('SELECT * FROM private'), { code: 'migration_failed' });
    await assert.rejects(apply('CREATE EXTENSION dblink'), /42501/);
  });
});
