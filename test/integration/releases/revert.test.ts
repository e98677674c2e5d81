import assert from 'node:assert/strict';
import { applyMigrations } from '../../../control-plane/releases/apply.ts';
import type { Migration } from '../../../control-plane/releases/release.ts';
import { revertMigrations, type RevertRequest } from '../../../control-plane/releases/revert.ts';
import { FleetError, SQLSTATE, sqlState } from '../../../platform/errors.ts';
import {
  makeTestServer,
  published,
  read,
  run,
  type TenantDatabase,
  type TestServer,
} from './tenant-database.ts';

const LIST = [
  { upSql: 'CREATE TABLE a (id int)', downSql: 'DROP TABLE a' },
  {
    upSql: 'ALTER TABLE a ADD note text; INSERT INTO a VALUES (1), (2); UPDATE a SET note = id',
    downSql: 'DELETE FROM a; ALTER TABLE a DROP note',
  },
  {
    upSql: `CREATE INDEX CONCURRENTLY a_id ON a (id); INSERT INTO a VALUES (3)`,
    downSql: `DELETE FROM a WHERE id = 3; DROP INDEX CONCURRENTLY a_id; ALTER TABLE a ALTER id TYPE bigint`,
    transactional: false,
  },
];

describe('reverting migrations', () => {
  let server: TestServer;
  let database: TenantDatabase;
  let list: Migration[];

  before(async () => {
    server = await makeTestServer();
    list = await published(...LIST);
  });
  after(() => server.drop());
  beforeEach(async () => {
    database = await server.makeDatabase();
  });

  const apply = (migrations = list, applicationName = 'fleet:first:1') =>
    applyMigrations(database.address, {
      ...{ ownerRole: database.ownerRole, migrations, release: 'r', applicationName },
    });
  const revert = (downTo: string | null, more: Partial<RevertRequest> = {}) =>
    revertMigrations(database.address, {
      ...{
        ownerRole: database.ownerRole,
        migrations: list,
        applicationName: 'fleet:undo:1',
        downTo,
        ...more,
      },
    });
  const records = async () => {
    const [row] = await read<{ names: string[]; ours: string[]; progress: string[] }>(
      database.superuser,
      `SELECT ARRAY(SELECT name FROM pgmigrations ORDER BY id) AS names,
              ARRAY(SELECT name FROM fleet.migrations ORDER BY name) AS ours,
              ARRAY(SELECT migration FROM fleet.progress) AS progress`,
    );
    return row;
  };
  const refused = async (code: string, work: Promise<unknown>) => {
    const before = await records();
    await assert.rejects(work, (error) => error instanceof FleetError && error.code === code);
    assert.deepEqual(await records(), before);
  };

  it('goes down to the given migration, the last first, and takes the records with it', async () => {
    await apply();
    const { reverted, schemaVersion, steps } = await revert('0001_m');
    assert.deepEqual([reverted, schemaVersion], [['0003_m', '0002_m'], '0001_m']);
    assert.deepEqual(
      steps.map(({ name, rows }) => [name, rows]),
      [
        ['0003_m', 1],
        ['0002_m', 2],
      ],
    );
    assert.deepEqual(await records(), { names: ['0001_m'], ours: ['0001_m'], progress: [] });
    assert.deepEqual((await revert(null)).reverted, ['0001_m']);
    assert.deepEqual((await revert(null)).reverted, []);
    assert.deepEqual((await apply()).applied, ['0001_m', '0002_m', '0003_m']);
  });

  it('keeps a migration whole when its down part fails', async () => {
    await apply();
    await run(database.superuser, 'CREATE VIEW v AS SELECT note FROM a');
    await assert.rejects(revert(null), (error: FleetError) => {
      assert.equal(error.code, 'migration_failed');
      assert.equal(sqlState(error.cause), SQLSTATE.dependentObjectsStillExist);
      return true;
    });
    assert.deepEqual((await records())?.names, ['0001_m', '0002_m']);
    assert.deepEqual(await read(database.superuser, 'SELECT count(*)::int AS n FROM a'), [{ n: 2 }]);
  });

  it('takes back only what one rollout has applied', async () => {
    await apply(list.slice(0, 1));
    await apply(list.slice(0, 2), 'fleet:second:1');
    await apply(list, 'fleet:second:7');
    assert.deepEqual((await revert(null, { appliedBy: 'second' })).reverted, ['0003_m', '0002_m']);
    assert.deepEqual((await revert(null, { appliedBy: 'second' })).reverted, []);
    assert.deepEqual((await records())?.names, ['0001_m']);
  });

  it('refuses, before it changes anything, what it cannot take back', async () => {
    await apply(list.slice(0, 2));
    await apply(list, 'fleet:second:1');
    await refused('migration_ahead', revert(null, { appliedBy: 'first' }));
    await refused('migration_ahead', revert(null, { migrations: list.slice(0, 2) }));
    const edited = await published(...LIST.map((draft) => ({ ...draft, downSql: 'SELECT 1' })));
    await refused('migration_edited', revert(null, { migrations: edited }));
    const other = await server.makeDatabase();
    database = other;
    const without = await published('CREATE TABLE a (id int)', ...LIST.slice(1));
    await apply(without);
    await refused('migration_irreversible', revert(null, { migrations: without }));
    assert.deepEqual((await revert('0001_m', { migrations: without })).reverted, ['0003_m', '0002_m']);
  });

  it('goes on with a down part that was interrupted, from either direction', async () => {
    for (const next of ['undo', 'apply'] as const) {
      database = await server.makeDatabase();
      await apply();
      await run(database.superuser, 'CREATE VIEW v AS SELECT id FROM a');
      await assert.rejects(revert('0002_m'), (error: FleetError) => error.code === 'migration_failed');
      assert.deepEqual((await records())?.progress, ['0003_m']);
      await run(database.superuser, 'DROP VIEW v; INSERT INTO a VALUES (3)');
      if (next === 'undo') assert.deepEqual((await revert('0002_m')).reverted, ['0003_m']);
      else assert.deepEqual((await apply()).applied, ['0003_m']);
      const threes = await read(database.superuser, 'SELECT count(*)::int AS n FROM a WHERE id = 3');
      // The first statement was done, and is not done again: the row that came later stays.
      assert.deepEqual(threes, [{ n: next === 'undo' ? 1 : 2 }]);
      assert.deepEqual((await records())?.progress, []);
    }
  });

  it('refuses to pass over a migration that is half applied', async () => {
    await apply(list.slice(0, 2));
    const broken = await published(...LIST.slice(0, 2), {
      ...{ upSql: 'INSERT INTO a VALUES (4); SELECT 1/0', downSql: 'SELECT 1', transactional: false },
    });
    await assert.rejects(apply(broken));
    await refused('migration_half_applied', revert('0001_m', { migrations: broken }));
  });

  it('counts rows and times for each migration, both ways', async () => {
    const told: string[] = [];
    const result = await applyMigrations(database.address, {
      ...{ ownerRole: database.ownerRole, migrations: list, release: 'r', applicationName: 'fleet:first:1' },
      onApplied: ({ name }) => told.push(name),
    });
    assert.deepEqual(told, ['0001_m', '0002_m', '0003_m']);
    assert.deepEqual(
      result.steps.map(({ rows, lockWaitMs }) => [rows, lockWaitMs]),
      [
        [0, 0],
        [4, 0],
        [1, 0],
      ],
    );
    assert.deepEqual(
      result.steps[2]?.statements?.map(({ command, rows }) => [command, rows]),
      [
        ['CREATE', 0],
        ['INSERT', 1],
      ],
    );
    assert.deepEqual([result.rows, result.lockWaitMs], [5, 0]);
  });
});
