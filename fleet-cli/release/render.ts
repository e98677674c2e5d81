import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RenderedMigration } from '../../contract/release.ts';
import { withRange } from './backfill.ts';
import { refuseDirectives } from './directives.ts';
import { invalid } from './invalid.ts';
import { orderUnits, type Unit } from './order.ts';
import { createScriptRenderer } from './script-file.ts';
import { renderSqlFile, renderSqlPair } from './sql-file.ts';

/**
 * Reads a folder of migrations and renders it to SQL, in the order and under the names that node-pg-migrate
 * gives them. Understands its `.sql` files with Up and Down markers, `.up.sql`/`.down.sql` pairs (golang-migrate's
 * too), `.ts`/`.js` files built with its MigrationBuilder, and Flyway's `V1__name.sql`/`U1__name.sql`. Files with
 * other endings and those whose name begins with a dot are passed over.
 * @throws FleetError 422 `migration_invalid` with `errors[].path` = file:line, 404 `folder_not_found`.
 */
export async function renderMigrations(folder: string): Promise<RenderedMigration[]> {
  const units = orderUnits(await listFiles(folder));
  if (units.length === 0) throw invalid(folder, 'holds no migration');
  const renderScript = createScriptRenderer();
  const rendered: RenderedMigration[] = [];
  // One after another: the type shorthands of a script hold for all scripts after it.
  for (const unit of units) {
    const migration =
      unit.kind === 'script' ? await renderScript(folder, unit) : await renderSql(folder, unit);
    rendered.push(withRange(migration));
  }
  return rendered;
}

async function listFiles(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries
      .filter((entry) => (entry.isFile() || entry.isSymbolicLink()) && !entry.name.startsWith('.'))
      .map((entry) => entry.name);
  } catch (cause) {
    throw invalid(folder, 'is not a folder that can be read', {
      code: 'folder_not_found',
      status: 404,
      cause,
    });
  }
}

async function renderSql(folder: string, unit: Unit): Promise<RenderedMigration> {
  const text = await readFile(join(folder, unit.file), 'utf8');
  if (unit.kind === 'single') return renderSqlFile(unit.name, unit.file, text);
  const down = unit.downFile === undefined ? null : await readFile(join(folder, unit.downFile), 'utf8');
  if (down !== null && unit.downFile !== undefined) refuseDirectives(unit.downFile, down, 1);
  return renderSqlPair(unit.name, unit.file, text, down);
}
