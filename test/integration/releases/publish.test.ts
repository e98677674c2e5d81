import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { PublishRelease, RenderedMigration } from '../../../contract/release.ts';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import { publishRelease } from '../../../control-plane/releases/publish.ts';
import { migrationChecksum } from '../../../control-plane/releases/release.ts';
import {
  currentRelease,
  findRelease,
  listMigrations,
  listReleases,
} from '../../../control-plane/releases/store.ts';
import { FleetError } from '../../../platform/errors.ts';
import { freshRegistry, type TestRegistry } from '../../support/registry.ts';
import { rendered } from './tenant-database.ts';

const A = 'CREATE TABLE a (id int)';
const B = 'CREATE TABLE b (id int)';
const C = 'CREATE TABLE c (id int)';

let test: TestRegistry;

function publish(migrations: RenderedMigration[], name?: string, upTo?: string): Promise<string> {
  const request: PublishRelease = {
    migrations,
    ...(name === undefined ? {} : { name }),
    ...(upTo === undefined ? {} : { upTo }),
  };
  return test.registry.transaction((tx) => publishRelease(tx, request, SYSTEM_CALLER, 'request-1'));
}

async function refused(migrations: RenderedMigration[], name?: string): Promise<FleetError> {
  const before = await everything();
  const error: unknown = await publish(migrations, name).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert(error instanceof FleetError, String(error));
  assert.deepEqual(await everything(), before, 'a refused publish changes nothing');
  return error;
}

async function everything() {
  const { rows } = await test.registry.query(
    `SELECT (SELECT json_agg(m) FROM migrations m) AS m, (SELECT json_agg(r) FROM releases r) AS r,
            (SELECT json_agg(s) FROM settings s) AS s, (SELECT count(*) FROM audit_log) AS a`,
  );
  return rows[0];
}

describe('publishing a release', () => {
  beforeEach(async () => {
    test = await freshRegistry();
  });
  afterEach(() => test.drop());

  it('appends to the list, names itself after the month, and is audited', async () => {
    const first = await publish(rendered(A));
    assert.match(first, /^\d{4}\.\d{2}\.1$/);
    const second = await publish(rendered(A, B));
    assert.equal(second, first.replace(/1$/, '2'));
    const list = await listMigrations(test.registry);
    assert.deepEqual(
      list.map(({ name, ordinal }) => [name, ordinal]),
      [
        ['0001_m', 1],
        ['0002_m', 2],
      ],
    );
    const { rows } = await test.registry.query(
      `SELECT action, resource, request_id FROM audit_log WHERE action = 'release.publish' ORDER BY seq`,
    );
    assert.deepEqual(rows, [
      { action: 'release.publish', resource: `release:${first}`, request_id: 'request-1' },
      { action: 'release.publish', resource: `release:${second}`, request_id: 'request-1' },
    ]);
  });

  it('keeps the directive of a backfill, which cannot change afterwards, and checks its statement', async () => {
    const backfill = { table: 'a', key: ['id'], batch: 500, verify: null };
    const fill = {
      upSql: 'UPDATE a SET id = id WHERE id BETWEEN $1 AND $2',
      phase: 'migrate' as const,
      transactional: false,
      backfill,
    };
    const name = await publish(rendered(A, fill));
    assert.deepEqual(
      (await listMigrations(test.registry)).map((migration) => migration.backfill),
      [undefined, backfill],
    );
    assert.equal(await publish(rendered(A, fill)), name);
    const edited = await refused(rendered(A, { ...fill, backfill: { ...backfill, key: ['other'] } }));
    assert.equal(edited.code, 'migration_edited');
    const wrong = await refused(rendered(A, fill, { ...fill, upSql: 'UPDATE a SET id = 1' }));
    assert.equal(wrong.code, 'migration_invalid');
    assert.match(wrong.errors?.[0]?.message ?? '', /has to bound the key/);
  });

  it('passes over names of the month that were given by hand', async () => {
    const month = (await publish(rendered(A))).slice(0, 8);
    await publish(rendered(A, B), `${month}7`);
    assert.equal(await publish(rendered(A, B, C)), `${month}8`);
  });

  it('makes the first release current, later ones not', async () => {
    const first = await publish(rendered(A));
    await publish(rendered(A, B));
    assert.equal((await currentRelease(test.registry))?.name, first);
  });

  it('leaves the current release alone where databases exist', async () => {
    await makeTenantDatabase(test);
    const first = await publish(rendered(A));
    assert.equal(await currentRelease(test.registry), undefined);
    const [standing] = await listReleases(test.registry, { name: first, limit: 1, regions: null });
    assert.deepEqual([standing?.applied, standing?.behind, standing?.current], [0, 1, false]);
    const [elsewhere] = await listReleases(test.registry, { name: first, limit: 1, regions: ['us'] });
    assert.deepEqual([elsewhere?.applied, elsewhere?.behind], [0, 0]);
  });

  it('answers with the release that exists when the same is published again', async () => {
    const first = await publish(rendered(A), 'one');
    assert.equal(await publish(rendered(A), 'one'), first);
    assert.equal(await publish(rendered(A)), first);
    await publish(rendered(A, B), 'two');
    assert.equal(await publish(rendered(A), 'one'), first, 'an older release too, under its name');
  });

  it('refuses other content under a name, and another name for the same content', async () => {
    await publish(rendered(A), 'one');
    assert.equal((await refused(rendered(A, B), 'one')).code, 'release_exists');
    const unchanged = await refused(rendered(A), 'two');
    assert.deepEqual([unchanged.code, unchanged.status], ['release_unchanged', 409]);
  });

  it('refuses an edited migration, with both checksums', async () => {
    await publish(rendered(A, B));
    const error = await refused(rendered(`${A} `, B, C));
    assert.deepEqual([error.code, error.status], ['migration_edited', 409]);
    const [was, is] = [migrationChecksum(A, null), migrationChecksum(`${A} `, null)];
    assert.match(error.message, new RegExp(`0001_m was edited .*published ${was}, now ${is}$`));
  });

  it('refuses a changed directive, whose SQL is the same', async () => {
    await publish(rendered(A));
    const error = await refused(rendered({ upSql: A, lockTimeoutMs: 100 }, B));
    assert.equal(error.code, 'migration_edited');
    assert.match(error.message, /lock-timeout changed/);
    const phase = { phase: 'contract', requiresApp: '2.4.0' } as const;
    await publish(rendered(A, { upSql: B, ...phase }));
    const weaker = await refused(rendered(A, { upSql: B, ...phase, requiresApp: '2.3.0' }, C));
    assert.match(weaker.message, /requires-app changed/);
  });

  it('ends a release in the middle of what is published when that is said, and only then', async () => {
    await publish(rendered(A, B, C), 'whole');
    const half = rendered(A, B);
    assert.equal((await refused(half, 'half')).code, 'migration_out_of_order');
    assert.equal(await publish(half, 'half', '0002_m'), 'half');
    assert.equal(await publish(half, undefined, '0002_m'), 'half', 'once');
    const [whole, middle] = [
      await findRelease(test.registry, 'whole'),
      await findRelease(test.registry, 'half'),
    ];
    assert.deepEqual([middle?.head, whole?.head], ['0002_m', '0003_m']);
    assert.notEqual(middle?.checksum, whole?.checksum);
  });

  it('refuses a migration that is missing, inserted or moved', async () => {
    await publish(rendered(A, B));
    const [first, second] = rendered(A, B);
    const inserted = { ...rendered(C)[0], name: '0001_x', file: '0001_x.sql' } as RenderedMigration;
    assert(first !== undefined && second !== undefined);
    assert.equal((await refused([first])).code, 'migration_out_of_order');
    assert.equal((await refused([second])).code, 'migration_out_of_order');
    assert.equal((await refused([second, first])).code, 'migration_out_of_order');
    const error = await refused([first, inserted, second]);
    assert.equal(error.code, 'migration_out_of_order');
    assert.match(error.message, /0001_x stands before 0002_m/);
    assert.equal((await refused([first, second, first])).code, 'migration_invalid');
  });

  it('names file and line of every statement that PostgreSQL cannot read', async () => {
    const error = await refused(
      rendered(
        { upSql: 'SELECT 1;\nSELCT 2', upLine: 4 },
        { upSql: B, downSql: '\nDORP TABLE b' },
        { upSql: 'SELECT 1\0' },
      ),
    );
    assert.deepEqual([error.code, error.status], ['migration_invalid', 422]);
    assert.deepEqual(error.errors, [
      { path: '0001_m.sql:5', message: 'syntax error at or near "SELCT"' },
      { path: '0002_m.sql (down):2', message: 'syntax error at or near "DORP"' },
      { path: '0003_m.sql (up):1', message: 'holds a NUL character' },
    ]);
  });

  it('cuts a migration without transaction into statements, text and comments kept whole', async () => {
    const upSql = `-- é; not a statement\nCREATE INDEX CONCURRENTLY i ON a (id); -- ;\nSELECT ';', $$ ; $$;\n;`;
    const name = await publish(rendered(A, { upSql, transactional: false }));
    assert.equal((await findRelease(test.registry, name))?.head, '0002_m');
    const [, second] = await listMigrations(test.registry);
    assert.deepEqual(second?.statements, ['CREATE INDEX CONCURRENTLY i ON a (id)', `SELECT ';', $$ ; $$`]);
  });

  it('lets two publish at once in order: one wins, the other meets its content', async () => {
    const outcomes = await Promise.allSettled([publish(rendered(A, B)), publish(rendered(A, C))]);
    const lost = outcomes.filter((outcome) => outcome.status === 'rejected');
    assert.equal(lost.length, 1);
    assert.equal((lost[0]?.reason as FleetError).code, 'migration_edited');
  });
});

describe('statements that no release may hold', () => {
  // One registry for all: each case asserts that it changed nothing.
  before(async () => {
    test = await freshRegistry();
  });
  after(() => test.drop());

  for (const sql of [
    'BEGIN; SELECT 1; COMMIT',
    'SELECT 1; ROLLBACK',
    'START TRANSACTION',
    `PREPARE TRANSACTION 'x'`,
    'SET ROLE postgres',
    'SET LOCAL ROLE postgres',
    'RESET ROLE',
    'RESET ALL',
    'DISCARD ALL',
    `SELECT set_config('role', 'none', false)`,
    `SELECT pg_catalog.set_config('ROLE', 'none', false)`,
    'DO $$ BEGIN RESET ROLE; CREATE TABLE x (id int); END $$',
    `DO $$ BEGIN PERFORM set_config('session_authorization', 'x', true); END $$`,
    'CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ SET LOCAL ROLE postgres $$',
    'SELECT pg_advisory_unlock_all()',
    'DROP TABLE pgmigrations',
    `ALTER DATABASE x SET role = 'y'`,
    `ALTER ROLE x SET role = 'y'`,
    'SET SESSION AUTHORIZATION postgres',
    'RESET SESSION AUTHORIZATION',
    'CREATE INDEX CONCURRENTLY i ON a (id)',
    'SELECT 1; DROP INDEX CONCURRENTLY i',
    'REINDEX TABLE CONCURRENTLY a',
    'VACUUM a',
    'ALTER SYSTEM SET work_mem = 1',
    'CREATE DATABASE x',
    'DROP DATABASE x',
    'COPY a FROM STDIN',
    'SELECT 1;\n-- Down Migration\nDROP TABLE a',
  ]) {
    it(`refuses ${JSON.stringify(sql)}`, async () => {
      assert.equal((await refused(rendered(A, sql))).code, 'migration_invalid');
      if (!sql.includes('Down')) {
        assert.equal((await refused(rendered(A, { upSql: B, downSql: sql }))).code, 'migration_invalid');
      }
    });
  }

  for (const sql of [
    'CREATE INDEX CONCURRENTLY ON a (id)',
    'ALTER TABLE a DETACH PARTITION b CONCURRENTLY',
    'BEGIN',
    'SET ROLE postgres',
  ]) {
    it(`refuses ${JSON.stringify(sql)} outside a transaction too`, async () => {
      const error = await refused(rendered(A, { upSql: sql, transactional: false }));
      assert.equal(error.code, 'migration_invalid');
    });
  }
});

async function makeTenantDatabase({ registry }: TestRegistry): Promise<void> {
  const [server, tenant] = [randomUUID(), randomUUID()];
  await registry.query(
    `INSERT INTO regions (name, jurisdiction, domain) VALUES ('eu', 'eu', 'eu.localhost')`,
  );
  await registry.query(
    `INSERT INTO servers (id, name, region, provider, mode, state, host, port, tls, admin_user, admin_database,
                          max_databases, max_connections)
     VALUES ($1, 'eu-1', 'eu', 'postgres', 'shared', 'ready', 'localhost', 5432, 'disable', 'x', 'x', 9, 9)`,
    [server],
  );
  await registry.query(
    `INSERT INTO tenants (id, slug, name, tier, region, state) VALUES ($1, 'acme', 'Acme', 'standard', 'eu', 'active')`,
    [tenant],
  );
  await registry.query(
    `INSERT INTO databases (id, tenant_id, server_id, name, owner_role, rw_role, login_a, login_b, state,
                            connection_limit)
     VALUES ($1, $2, $3, 't_1', 'o', 'r', 'a', 'b', 'ready', 5)`,
    [randomUUID(), tenant, server],
  );
}
