import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runner } from 'node-pg-migrate';
import type { RenderedMigration } from '../../../contract/release.ts';
import { applyMigrations } from '../../../control-plane/releases/apply.ts';
import { renderMigrations } from '../../../fleet-cli/release/render.ts';
import { addressUrl, type PgAddress } from '../../../platform/pg.ts';
import { makeTestServer, read, run, toMigrations, type TestServer } from './tenant-database.ts';

/** One of each: what node-pg-migrate's users write. Names test the order (2 before 10, then by name). */
const FOLDER: Record<string, string> = {
  '1_tables.sql': `-- Up Migration
    CREATE TABLE people (id serial PRIMARY KEY, name text NOT NULL DEFAULT 'a; b -- c', born date);
    CREATE TABLE pets (id int GENERATED ALWAYS AS IDENTITY, person_id int REFERENCES people ON DELETE CASCADE,
                       tags text[] NOT NULL DEFAULT '{}', CHECK (id > 0));
    -- Down Migration
    DROP TABLE pets; DROP TABLE people;`,
  '2_enum_and_index.sql': `CREATE TYPE mood AS ENUM ('sad', 'ok');
    ALTER TABLE people ADD mood mood DEFAULT 'ok';
    CREATE INDEX people_name ON people (lower(name)) WHERE born IS NOT NULL`,
  '2_function.sql': `-- up migration
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
      -- not a marker; COMMIT;
      NEW.name := NEW.name || ';';
      RETURN NEW;
    END $body$;
    CREATE TRIGGER people_touch BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touch();`,
  '3_view.down.sql': 'DROP VIEW adults;',
  '3_view.up.sql': `CREATE VIEW adults AS SELECT * FROM people WHERE born < '2000-01-01';`,
  '4_builder.ts': `import type { MigrationBuilder, ColumnDefinitions } from 'node-pg-migrate';
    export const shorthands: ColumnDefinitions = { key: { type: 'uuid', primaryKey: true } };
    export const up = (pgm: MigrationBuilder): void => {
      pgm.createTable('notes', { id: 'key', body: { type: 'text', notNull: true, comment: "plain" } });
      pgm.createIndex('notes', 'body', { unique: true });
      pgm.sql('INSERT INTO people (name) VALUES ({name})', { name: pgm.func("'x'") });
    };
    export const down = (pgm: MigrationBuilder): void => { pgm.dropTable("notes"); };`,
  '5_shorthand.js': `export const up = async (pgm) => { pgm.createTable('later', { id: 'key' }); };`,
  '6_outside.ts': `import type { MigrationBuilder } from 'node-pg-migrate';
    export async function up(pgm: MigrationBuilder): Promise<void> {
      pgm.noTransaction();
      pgm.createIndex('pets', 'person_id', { concurrently: true, name: 'pets_person' });
      pgm.addTypeValue('mood', 'happy');
    }
    export const down = false;`,
  '7_callback.cjs': `exports.up = (pgm, done) => { pgm.addColumns('later', { at: 'timestamptz' }); done(); };`,
  '10_schema.sql': `CREATE SCHEMA extra; CREATE TABLE extra.t (v int);
    ALTER TABLE extra.t ADD CONSTRAINT positive CHECK (v > 0) NOT VALID;
    INSERT INTO extra.t SELECT generate_series(1, 3);`,
};

/** Facts of the catalogue, without OIDs, about everything that is not the system's or the fleet's. */
const SCHEMA_FACTS = `
  WITH mine AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'fleet'))
  SELECT 'relation' AS kind, format('%s.%s %s', nspname, relname, relkind) AS fact FROM pg_class c JOIN mine ON mine.oid = relnamespace
  UNION ALL
  SELECT 'column', format('%s.%s.%s %s %s %s %s %s', nspname, relname, attname, attnum, format_type(atttypid, atttypmod), attnotnull,
                          attidentity, pg_get_expr(adbin, adrelid))
    FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN mine ON mine.oid = relnamespace
    LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum WHERE attnum > 0
  UNION ALL
  SELECT 'constraint', format('%s %s %s', conname, pg_get_constraintdef(c.oid), convalidated) FROM pg_constraint c JOIN mine ON mine.oid = connamespace
  UNION ALL
  SELECT 'index', format('%s %s', pg_get_indexdef(indexrelid), indisvalid) FROM pg_index i JOIN pg_class c ON c.oid = indrelid JOIN mine ON mine.oid = relnamespace
  UNION ALL
  SELECT 'function', pg_get_functiondef(p.oid) FROM pg_proc p JOIN mine ON mine.oid = pronamespace
  UNION ALL
  SELECT 'trigger', pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid JOIN mine ON mine.oid = relnamespace WHERE NOT tgisinternal
  UNION ALL
  SELECT 'view', format('%s %s', viewname, definition) FROM pg_views JOIN mine ON nspname = schemaname
  UNION ALL
  SELECT 'enum', format('%s %s', typname, string_agg(enumlabel, ',' ORDER BY enumsortorder)) FROM pg_enum JOIN pg_type t ON t.oid = enumtypid JOIN mine ON mine.oid = typnamespace GROUP BY typname
  UNION ALL
  SELECT 'row', format('%s %s', id, name) FROM people
  ORDER BY 1, 2`;

describe('applying and node-pg-migrate compared', () => {
  let server: TestServer;
  let folder: string;

  before(async () => {
    server = await makeTestServer();
    folder = mkdtempSync(join(tmpdir(), 'flotilla-differential-'));
    for (const [name, text] of Object.entries(FOLDER)) writeFileSync(join(folder, name), text);
  });
  after(async () => {
    rmSync(folder, { recursive: true });
    await server.drop();
  });

  async function runReference(address: PgAddress, more: { checkOrder?: boolean } = {}): Promise<void> {
    await runner({
      ...more,
      databaseUrl: addressUrl(address),
      dir: folder,
      direction: 'up',
      migrationsTable: 'pgmigrations',
      log: () => undefined,
      // The loader that knows .up.sql and .down.sql; the default takes each of them for a migration.
      migrationLoaderStrategies: [{ extensions: ['.sql'], loader: 'sql' }],
    });
  }

  const facts = (address: PgAddress) => read(address, SCHEMA_FACTS);
  const rows = (address: PgAddress) => read(address, 'SELECT id, name FROM pgmigrations ORDER BY run_on, id');

  it('leaves the same schema, and the same rows in pgmigrations, as its runner', async () => {
    const [ours, theirs] = [await server.makeDatabase(), await server.makeDatabase()];
    const list = await toMigrations(await renderMigrations(folder));
    await applyMigrations(ours.address, {
      ownerRole: ours.ownerRole,
      migrations: list,
      release: 'x',
      applicationName: 'fleet:test:1',
    });
    await runReference(theirs.superuser);

    const expected = await facts(theirs.superuser);
    assert(expected.length > 60, String(expected.length));
    assert.deepEqual(await facts(ours.superuser), expected);
    assert.deepEqual(await rows(ours.superuser), await rows(theirs.superuser));
    assert.equal(list.length, 9);
    // Its runner finds nothing to do where we have been, and we where it has been.
    await runReference(ours.superuser);
    await run(theirs.superuser, `ALTER TABLE pgmigrations OWNER TO ${theirs.ownerRole}`);
    const again = await applyMigrations(theirs.address, {
      ownerRole: theirs.ownerRole,
      migrations: list,
      release: 'x',
      applicationName: 'fleet:test:1',
    });
    assert.deepEqual(again.applied, []);
  });

  it('leaves them where a migration came late too, as its runner does when it does not check the order', async () => {
    const [ours, theirs] = [await server.makeDatabase(), await server.makeDatabase()];
    const late = '2_function';
    const next = join(folder, '11_next.sql');
    const apply = (list: RenderedMigration[]) =>
      toMigrations(list).then((migrations) =>
        applyMigrations(ours.address, {
          ...{ ownerRole: ours.ownerRole, migrations, release: 'x', applicationName: 'fleet:test:1' },
        }),
      );
    const whole = await renderMigrations(folder);
    const before = whole.filter(({ name }) => name !== late);
    rmSync(join(folder, `${late}.sql`));
    await apply(before);
    await runReference(theirs.superuser);
    writeFileSync(join(folder, `${late}.sql`), FOLDER[`${late}.sql`] ?? '');
    await assert.rejects(runReference(theirs.superuser), /Not run migration 2_function is preceding/);
    await runReference(theirs.superuser, { checkOrder: false });
    const published = [...before, ...whole.filter(({ name }) => name === late)];
    assert.deepEqual((await apply(published)).applied, [late]);
    writeFileSync(next, 'ALTER TABLE people ADD last int');
    await runReference(theirs.superuser, { checkOrder: false });
    const grown = [
      ...published,
      ...(await renderMigrations(folder)).filter(({ name }) => name === '11_next'),
    ];
    assert.deepEqual((await apply(grown)).applied, ['11_next']);
    assert.deepEqual(await facts(ours.superuser), await facts(theirs.superuser));
    assert.deepEqual(await rows(ours.superuser), await rows(theirs.superuser));
    await runReference(ours.superuser, { checkOrder: false });
    assert.equal((await rows(ours.superuser)).length, grown.length);
  });
});
