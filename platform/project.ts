import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Absolute path of the project's folder: the nearest parent with `migrations/registry`. The same from
 * the sources and from `dist/`, whose copy of this file sits one level deeper.
 */
export function projectRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'migrations', 'registry'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('no parent folder holds migrations/registry');
    folder = parent;
  }
  return folder;
}

/** Flotilla's own version, from package.json. */
export function productVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(projectRoot(), 'package.json'), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown';
}
