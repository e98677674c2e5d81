import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RenderedMigration } from '../../../contract/release.ts';
import { renderMigrations } from '../../../fleet-cli/release/render.ts';
import { FleetError } from '../../../platform/errors.ts';
import { projectRoot } from '../../../platform/project.ts';

describe('rendering a folder of migrations', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'flotilla-render-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);

  async function refused(pattern: RegExp): Promise<FleetError> {
    const error: unknown = await renderMigrations(folder).catch((reason: unknown) => reason);
    assert(error instanceof FleetError, String(error));
    assert.match(error.message, pattern);
    return error;
  }

  it('gives what the API accepts for the product’s own schema', async () => {
    const migrations = await renderMigrations(join(projectRoot(), 'migrations', 'tenant'));
    for (const migration of migrations) RenderedMigration.parse(migration);
    assert.equal(migrations[0]?.name, '0001_projects_and_tasks');
    assert(migrations.every(({ downSql }) => downSql !== null));
  });

  it('builds scripts to SQL: down given, down inferred, no down, shorthands of those before', async () => {
    write(
      '1_given.ts',
      `// fleet: phase=contract
       export const shorthands = { key: { type: 'bigint', primaryKey: true } };
       export const up = (pgm: { createTable(n: string, c: object): void }): void => pgm.createTable('a', { id: 'key' });
       export const down = (pgm: { sql(s: string): void }): void => pgm.sql('DROP TABLE a CASCADE');`,
    );
    write('2_inferred.js', `export const up = (pgm) => pgm.createTable('b', { id: 'key' });`);
    write('3_irreversible.mjs', `export const up = (pgm) => { pgm.sql('SELECT 1'); };`);
    write(
      '4_refused.cjs',
      `exports.up = (pgm) => { pgm.noTransaction(); pgm.sql('VACUUM'); }; exports.down = false;`,
    );
    const [given, inferred, irreversible, refusedDown] = await renderMigrations(folder);
    assert.match(given?.upSql ?? '', /CREATE TABLE "a" \(\s*"id" bigint PRIMARY KEY\s*\);/);
    assert.deepEqual([given?.downSql, given?.phase], ['DROP TABLE a CASCADE;', 'contract']);
    assert.match(inferred?.upSql ?? '', /"id" bigint PRIMARY KEY/);
    assert.equal(inferred?.downSql, 'DROP TABLE "b";');
    assert.equal(irreversible?.downSql, null);
    assert.deepEqual([refusedDown?.downSql, refusedDown?.transactional], [null, false]);
  });

  it('refuses a script that asks a database, throws, or exports no up', async () => {
    // A folder each: a module that was loaded once is not read again.
    for (const [text, pattern] of [
      [`export const up = async (pgm) => { await pgm.db.query('SELECT 1'); };`, /^1_a.js asks the database/],
      [`export const up = () => { throw new Error('no luck'); };`, /^1_a.js cannot be built: no luck/],
      ['export const down = () => undefined;', /^1_a.js exports no function `up`/],
      ['export const up = (;', /^1_a.js cannot be loaded/],
    ] as const) {
      rmSync(folder, { recursive: true });
      folder = mkdtempSync(join(tmpdir(), 'flotilla-render-'));
      write('1_a.js', text);
      assert.equal((await refused(pattern)).code, 'migration_invalid');
    }
  });

  it('refuses a directive in a down file, where it would mean nothing', async () => {
    write('1_a.up.sql', 'SELECT 1');
    write('1_a.down.sql', '-- note\n-- fleet: transaction=off');
    assert.equal((await refused(/^1_a.down.sql:2/)).errors?.[0]?.path, '1_a.down.sql:2');
  });

  it('says when the folder is missing or empty', async () => {
    await refused(/holds no migration/);
    const error: unknown = await renderMigrations(join(folder, 'none')).catch((reason: unknown) => reason);
    assert(error instanceof FleetError);
    assert.deepEqual([error.code, error.status], ['folder_not_found', 404]);
  });

  it('loads a database driver for scripts only', () => {
    write('1_a.sql', 'SELECT 1');
    assert.equal(loadsDriver(folder), false);
    write('2_b.mjs', 'export const up = () => undefined;');
    assert.equal(loadsDriver(folder), true);
  });
});

/** Whether a fresh process that renders the folder has loaded `pg` at the end. */
function loadsDriver(folder: string): boolean {
  const render = join(projectRoot(), 'fleet-cli/release/render.ts');
  const script = `
    import { createRequire } from 'node:module';
    const { renderMigrations } = await import(${JSON.stringify(render)});
    await renderMigrations(${JSON.stringify(folder)});
    const require = createRequire(${JSON.stringify(join(projectRoot(), 'package.json'))});
    console.log(require.resolve('pg') in require.cache);`;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', script];
  return execFileSync(process.execPath, args, { cwd: projectRoot(), encoding: 'utf8' }).trim() === 'true';
}
