import type { LockMode, RehearsedLock, RehearsedRewrite } from '../../../contract/rehearsal.ts';
import { LOCK_MODES } from '../../../contract/rehearsal.ts';
import { isStronger } from './rehearsal.ts';

/** A table of the tenant's, as the catalogue has it. */
export interface TableFacts {
  oid: string;
  name: string;
  /** Names its file: another one means that its rows were written again. */
  file: string;
  bytes: number;
}

/**
 * The tenant's tables. Takes no lock on them: their size is what the catalogue says, as asking for the files would
 * wait behind whoever alters one.
 */
export const TABLES_SQL = `
  SELECT c.oid::text AS oid, CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname AS name,
         c.relfilenode::text AS file, greatest(c.relpages, 0)::float8 * current_setting('block_size')::int AS bytes
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'fleet') AND n.nspname !~ '^pg_'
     AND (n.nspname, c.relname) <> ('public', 'pgmigrations')`;

/** The locks that this session holds on tables and indexes of its database. */
export const LOCKS_SQL = `
  SELECT l.relation::text AS oid, replace(l.mode, 'Lock', '') AS mode
    FROM pg_catalog.pg_locks l
   WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted
     AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())`;

/** What one transaction has done to the tables that were there before it. */
export interface TableWatch {
  /** Notes what has changed since the last call, as the doing of `migration`. */
  note(migration: string, after: readonly TableFacts[], locks: readonly HeldLock[]): void;
  locks(): RehearsedLock[];
  rewrites(): RehearsedRewrite[];
}

export interface HeldLock {
  oid: string;
  mode: string;
}

/** @param before the tables at the beginning */
export function watchTables(before: readonly TableFacts[]): TableWatch {
  const known = new Map(before.map((table) => [table.oid, table]));
  const files = new Map(before.map((table) => [table.oid, table.file]));
  const strongest = new Map<string, RehearsedLock>();
  const rewrites: RehearsedRewrite[] = [];
  return {
    note: (migration, after, locks) => {
      for (const { oid, file } of after) {
        const table = known.get(oid);
        if (table === undefined || files.get(oid) === file) continue;
        files.set(oid, file);
        rewrites.push({ table: table.name, migration, bytes: table.bytes });
      }
      for (const { oid, mode } of locks) {
        const table = known.get(oid);
        if (table === undefined || !isMode(mode)) continue;
        // What every query takes is no news.
        if (mode === 'AccessShare' || !isStronger(mode, strongest.get(oid)?.mode)) continue;
        strongest.set(oid, { table: table.name, mode, migration });
      }
    },
    locks: () => [...strongest.values()],
    rewrites: () => rewrites,
  };
}

function isMode(mode: string): mode is LockMode {
  return LOCK_MODES.some((known) => known === mode);
}
