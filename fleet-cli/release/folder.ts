import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { RenderedMigration } from '../../contract/release.ts';
import { usageError } from '../errors.ts';

/**
 * Renders the migrations of a folder that was named on the command line.
 * @throws CliError exit 2 for what is no folder; FleetError 422 `migration_invalid`.
 */
export async function renderFolder(cwd: string, folder: string): Promise<RenderedMigration[]> {
  const from = resolve(cwd, folder);
  if (statSync(from, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw usageError(`${from} is no folder`, 'name the folder that holds the migrations');
  }
  // Loaded here only: it brings the migration builder, which no other command needs.
  const { renderMigrations } = await import('./render.ts');
  return renderMigrations(from);
}
