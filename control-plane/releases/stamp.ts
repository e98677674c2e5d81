import { quoteLiteral, type Queryable } from '../../platform/pg.ts';

/**
 * Tells in a few numbers whether anybody has touched a database's schema since it was last compared with what its
 * migrations make: a comparison reads the whole catalogue and costs twice a small migration, this a few function
 * calls. PostgreSQL counts every row that is written in a catalogue (cumulative statistics); the sum only grows.
 * Where it cannot tell (counters lost in a crash or reset, temporary tables, a transaction rolled back) the stamp
 * differs, and the schema is read.
 */
export interface SchemaStamp {
  /** The database's last migration when its schema was compared; null for none. */
  version: string | null;
  /** OID of the database, whose counters these are. */
  database: number;
  /** When somebody last reset the database's counters, and when the server's began: a crash loses both. */
  databaseSince: string | null;
  serverSince: string | null;
  /** Rows that were written in the catalogues since then, by whomever. */
  changes: number;
}

/** What the description of a schema is read from (schema-sql.ts), with the OIDs that never change. */
export const CATALOGUES: Record<string, number> = {
  pg_aggregate: 2600,
  pg_attrdef: 2604,
  pg_attribute: 1249,
  pg_class: 1259,
  pg_collation: 3456,
  pg_constraint: 2606,
  pg_default_acl: 826,
  pg_depend: 2608,
  pg_enum: 3501,
  pg_event_trigger: 3466,
  pg_extension: 3079,
  pg_foreign_server: 1417,
  pg_foreign_table: 3118,
  pg_index: 2610,
  pg_inherits: 2611,
  pg_namespace: 2615,
  pg_policy: 3256,
  pg_proc: 1255,
  pg_range: 3541,
  pg_rewrite: 2618,
  pg_sequence: 2224,
  pg_statistic_ext: 3381,
  pg_trigger: 2620,
  pg_type: 1247,
};

/**
 * Names are whole: the statement also runs behind a migration that may have set another search path. Functions stand
 * where an operator would read better: a session that meets an operator for the first time reads all of its name, for
 * `=` eleven pages of the catalogue. Each page costs 10 µs where a server's databases do not fit into its memory; that
 * is 0.8 ms of a small migration.
 */
function countSql(kind: '' | 'xact_'): string {
  const [inserted, updated, deleted] = ['inserted', 'updated', 'deleted'].map(
    (verb) => `pg_catalog.pg_stat_get_${kind}tuples_${verb}(c)`,
  );
  const rows = `pg_catalog.int8pl(pg_catalog.int8pl(${inserted}, ${updated}), ${deleted})`;
  const list = Object.values(CATALOGUES).join(',');
  return `(SELECT pg_catalog.sum(${rows}) FROM pg_catalog.unnest('{${list}}'::oid[]) AS c)`;
}

/** What everybody's ended sessions, and the idle ones, have told the server. */
const SHARED = countSql('');
/** What this session has written and not told yet, in the transaction under way too. */
const OWN = countSql('xact_');

/** A reset of the database's counters; a crash resets what the server counts as a whole, too. */
const serverSince = 'pg_catalog.pg_stat_get_bgwriter_stat_reset_time()';
const databaseSince = (oid: string): string => `pg_catalog.pg_stat_get_db_stat_reset_time(${oid})`;

/** As every session reads it, whatever its settings are. */
function instantSql(time: string): string {
  return `pg_catalog.to_char(${time} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
}

const COUNTS = "pg_catalog.texteq(pg_catalog.current_setting('track_counts'), 'on')";

/** The stamp as of now, in one row; none where the server does not count. */
export const STAMP_SQL = `SELECT d.oid::int8 AS database, ${instantSql(databaseSince('d.oid'))} AS "databaseSince",
         ${instantSql(serverSince)} AS "serverSince", ${SHARED} + ${OWN} AS changes
  FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database() AND ${COUNTS}`;

/** What this session has written and not told yet: the growth over a transaction is the transaction's own. */
export const OWN_CHANGES_SQL = `SELECT ${OWN} AS changes;\n`;

/** An expression that is true while nobody has touched the schema since `stamp`. Cheap: it is asked at every target. */
export function stampHoldsSql(stamp: SchemaStamp): string {
  const isStill = (time: string, instant: string | null): string =>
    instant === null ? `${time} IS NULL` : `pg_catalog.timestamptz_eq(${time}, ${quoteLiteral(instant)})`;
  return [
    COUNTS,
    isStill(databaseSince(String(stamp.database)), stamp.databaseSince),
    isStill(serverSince, stamp.serverSince),
    `pg_catalog.numeric_eq(${SHARED}, '${stamp.changes}')`,
  ].join(' AND ');
}

/** Makes the stamp from what STAMP_SQL answered; null: nothing is known. */
export function toStamp(
  row: Record<string, unknown> | undefined,
  version: string | null,
): SchemaStamp | null {
  if (row === undefined) return null;
  return {
    version,
    database: Number(row.database),
    databaseSince: instantOf(row.databaseSince),
    serverSince: instantOf(row.serverSince),
    changes: Number(row.changes),
  };
}

function instantOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

export async function readStamp(db: Queryable, version: string | null): Promise<SchemaStamp | null> {
  const { rows } = await db.query(STAMP_SQL);
  return toStamp(rows[0], version);
}

export function isSameStamp(a: SchemaStamp, b: SchemaStamp | null): boolean {
  return b !== null && STAMP_KEYS.every((key) => a[key] === b[key]);
}

const STAMP_KEYS = ['version', 'database', 'databaseSince', 'serverSince', 'changes'] as const;

/** The stamp after a migration that wrote `changes` rows (null: nobody knows) and left the database at `version`. */
export function advanceStamp(
  stamp: SchemaStamp | null,
  version: string | null,
  changes: number | null,
): SchemaStamp | null {
  if (stamp === null || changes === null) return null;
  return { ...stamp, version, changes: stamp.changes + changes };
}
