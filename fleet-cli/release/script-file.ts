import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { ColumnDefinitions, MigrationBuilder } from 'node-pg-migrate';
import type { RenderedMigration } from '../../contract/release.ts';
import { FleetError } from '../../platform/errors.ts';
import { readDirectives } from './directives.ts';
import { invalid } from './invalid.ts';
import type { Unit } from './order.ts';

type Action = (pgm: MigrationBuilder, done?: () => void) => unknown;

/** What a migration script exports. `down: false` means none; absent, it is inferred from `up`. */
interface Script {
  up: Action;
  down: Action | false | undefined;
  shorthands: ColumnDefinitions;
}

/**
 * Renders scripts that are written against node-pg-migrate's MigrationBuilder. Loads that package, which brings
 * a database driver along, only when a folder holds a script: everything else in this program does without.
 */
export function createScriptRenderer(): (folder: string, unit: Unit) => Promise<RenderedMigration> {
  let shorthands: ColumnDefinitions = {};
  return async (folder, unit) => {
    const path = resolve(join(folder, unit.file));
    const library = await import('node-pg-migrate');
    const script = await loadScript(unit.file, path, library.jiti);
    shorthands = { ...shorthands, ...script.shorthands };
    const build = (): MigrationBuilder =>
      new library.MigrationBuilder(refuseDatabase(unit.file), shorthands, false, QUIET);
    try {
      const up = await run(build(), script.up);
      return {
        name: unit.name,
        file: unit.file,
        upSql: up.getSqlSteps().join('\n'),
        downSql: await renderDown(build, script),
        ...withTransaction(readDirectives(unit.file, await readFile(path, 'utf8')), up.isUsingTransaction()),
      };
    } catch (error) {
      if (error instanceof FleetError) throw error;
      throw invalid(unit.file, `cannot be built: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  };
}

const QUIET = { info: () => undefined, warn: () => undefined, error: () => undefined };

function withTransaction<T extends { transactional: boolean }>(directives: T, using: boolean): T {
  return { ...directives, transactional: directives.transactional && using };
}

/** With the very loader that node-pg-migrate uses, so that what runs there is rendered here. */
async function loadScript(
  file: string,
  path: string,
  loader: { import(path: string): Promise<unknown> },
): Promise<Script> {
  const module: unknown = await loader.import(path).catch((cause: unknown) => {
    throw invalid(file, `cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  });
  const exported = (typeof module === 'object' && module !== null ? module : {}) as Partial<Script>;
  if (typeof exported.up !== 'function') throw invalid(file, 'exports no function `up`');
  return { up: exported.up, down: exported.down, shorthands: exported.shorthands ?? {} };
}

async function run(pgm: MigrationBuilder, action: Action): Promise<MigrationBuilder> {
  // node-pg-migrate passes a callback to functions that declare two parameters.
  if (action.length === 2) await new Promise<void>((done) => void action(pgm, done));
  else await action(pgm);
  return pgm;
}

async function renderDown(build: () => MigrationBuilder, script: Script): Promise<string | null> {
  if (script.down === false) return null;
  if (script.down !== undefined) return (await run(build(), script.down)).getSqlSteps().join('\n');
  try {
    return (await run(build().enableReverseMode(), script.up)).getSqlSteps().join('\n');
  } catch {
    // Some step of `up` has no reverse: the migration has no down part.
    return null;
  }
}

/** A release is the same SQL for every database, so a script cannot ask one while it is rendered. */
function refuseDatabase(file: string) {
  const refuse = (): never => {
    throw invalid(file, 'asks the database while it is built (pgm.db); a release holds SQL only', {
      fix: 'put the query into SQL, e.g. a DO block',
    });
  };
  return { query: refuse, select: refuse };
}
