import assert from 'node:assert/strict';
import { applyMigrations } from '../../../control-plane/releases/apply.ts';
import { FleetError } from '../../../platform/errors.ts';
import { makeTestServer, published, read, type TenantDatabase, type TestServer } from './tenant-database.ts';

/** SQL that acts as the admin if it can: makes a role, which the owner may not. */
const ESCAPE = 'RESET ROLE; CREATE ROLE escaped_from_its_owner';

/** As dynamic SQL, which no reading of the text finds: the server itself has to refuse. */
const HIDDEN = `EXECUTE replace('RESET_ROLE', '_', ' '); CREATE ROLE escaped_from_its_owner;`;

const TRIGGER = `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${HIDDEN} RETURN NEW; END $$;`;

const ATTEMPTS: Record<string, string> = {
  'a block': `DO $$ BEGIN ${ESCAPE}; END $$`,
  'a setting': `SELECT set_config('role', 'none', false); CREATE ROLE escaped_from_its_owner`,
  'a session authorization': `SELECT set_config('session_authorization', 'default', false); ${ESCAPE}`,
  'dynamic SQL': `DO $$ BEGIN ${HIDDEN} END $$`,
  'dynamic SQL that comes back': `DO $$ BEGIN ${HIDDEN} EXECUTE 'SET ROLE ' || current_user; END $$`,
  'a function with a role':
    'CREATE FUNCTION f() RETURNS int LANGUAGE sql SET role = none AS $$ SELECT 1 $$; SELECT f()',
  'a deferred trigger': `CREATE TABLE a (id int); ${TRIGGER}
    CREATE CONSTRAINT TRIGGER t AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION f(); INSERT INTO a VALUES (1)`,
  'a trigger on the record': `${TRIGGER}
    CREATE TRIGGER t BEFORE INSERT ON pgmigrations FOR EACH ROW EXECUTE FUNCTION f()`,
  'a deferred trigger on the record': `${TRIGGER}
    CREATE CONSTRAINT TRIGGER t AFTER INSERT ON pgmigrations DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION f()`,
};

describe('a migration that tries to act as the admin', () => {
  let server: TestServer;
  let database: TenantDatabase;

  before(async () => {
    server = await makeTestServer();
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

  const failed = (pattern: RegExp) => (error: unknown) => {
    assert(error instanceof FleetError, String(error));
    assert.equal(error.code, 'migration_failed');
    assert.match(error.message, pattern);
    return true;
  };

  async function assertNothingDone(): Promise<void> {
    const [state] = await read(
      database.superuser,
      `SELECT (SELECT count(*)::int FROM pgmigrations) AS applied,
              (SELECT count(*)::int FROM pg_roles WHERE rolname = 'escaped_from_its_owner') AS roles`,
    );
    assert.deepEqual(state, { applied: 0, roles: 0 });
  }

  for (const [way, upSql] of Object.entries(ATTEMPTS)) {
    for (const transactional of [true, false]) {
      it(`is refused by the server: ${way}${transactional ? '' : ', in steps'}`, async () => {
        await assert.rejects(
          apply({ upSql, transactional }),
          failed(/within security-definer function.*42501/),
        );
        await assertNothingDone();
      });
    }
  }

  it('cannot leave a runner behind that a later one would be run by', async () => {
    const planted = `CREATE OR REPLACE FUNCTION fleet_run_migration(script text) RETURNS void LANGUAGE plpgsql AS
      $$ BEGIN CREATE TABLE planted (); END $$`;
    const namesake = `CREATE FUNCTION fleet_run_migration(script varchar) RETURNS void LANGUAGE plpgsql AS
      $$ BEGIN CREATE TABLE planted (); END $$`;
    await apply(planted, namesake, 'CREATE TABLE a (who) AS SELECT current_user::text');
    assert.deepEqual(await read(database.superuser, 'SELECT who FROM a'), [{ who: database.ownerRole }]);
    const [rest] = await read(database.superuser, `SELECT to_regclass('planted') AS planted`);
    assert.deepEqual(rest, { planted: null });
  });

  it('cannot put a view in the place of the record, which the next session would read', async () => {
    const upSql = `DO $$ BEGIN EXECUTE 'ALTER TABLE pgmigrations RENAME TO hidden';
      EXECUTE 'CREATE VIEW pgmigrations AS SELECT * FROM hidden'; END $$`;
    await assert.rejects(apply(upSql), failed(/23502/));
    await assertNothingDone();
  });

  it('finds no object of the runner in its schema afterwards', async () => {
    await apply('CREATE TABLE a (id int)');
    const rows = await read(database.superuser, `SELECT 1 FROM pg_proc WHERE proname ~ '^fleet_'`);
    assert.deepEqual(rows, []);
  });
});
