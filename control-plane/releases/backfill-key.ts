import type { Backfill } from '../../contract/backfill.ts';
import { FleetError } from '../../platform/errors.ts';
import { quoteIdent, quoteLiteral, type PgClient } from '../../platform/pg.ts';
import type { Migration } from './release.ts';

/** The order in which a backfill goes through its table, as one database has it. */
export interface BackfillKey {
  /** Quoted, with its schema. */
  table: string;
  columns: { name: string; type: string }[];
}

/** The values of the key's columns in one row, as PostgreSQL writes them. */
export type KeyValue = string[];

/** Rows of the table that follow each other in the order of the key; both ends are rows and belong to it. */
export interface KeyRange {
  from: KeyValue;
  to: KeyValue;
  rows: number;
}

/**
 * Looks up the table and its key. The columns have to be those of a unique index, in its order and never NULL: else
 * rows could be left out or met twice.
 * @throws FleetError 422 `backfill_table_missing`, `backfill_key_unusable`
 */
export async function readKey(
  client: PgClient,
  migration: Migration,
  backfill: Backfill,
): Promise<BackfillKey> {
  const [name = '', schema = 'public'] = backfill.table.split('.').reverse();
  const table = `${quoteIdent(schema)}.${quoteIdent(name)}`;
  const { rows } = await client.query<Found>(FIND_KEY, [table]);
  const [found] = rows;
  if (found === undefined) throw tableMissing(migration, backfill.table);
  if (!found.keys.some((key) => key.join() === backfill.key.join())) {
    throw keyUnusable(migration, backfill, found.keys);
  }
  return {
    table,
    columns: backfill.key.map((column) => ({ name: column, type: found.types[column] ?? 'text' })),
  };
}

interface Found {
  /** By column. */
  types: Record<string, string>;
  /** Columns of each index that gives every row its one place. */
  keys: string[][];
}

/** An index over descending and ascending columns at once cannot follow a comparison of rows. */
const FIND_KEY = `
  WITH columns AS (
    SELECT attnum, attname, attnotnull, attcollation, format_type(atttypid, atttypmod) AS type
      FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
  ), keys AS (
    SELECT i.indexrelid, json_agg(c.attname ORDER BY k.place) AS names
      FROM pg_index i
     CROSS JOIN LATERAL ROWS FROM (unnest(i.indkey), unnest(i.indoption), unnest(i.indcollation))
                  WITH ORDINALITY AS k (attnum, option, "collation", place)
      LEFT JOIN columns c ON c.attnum = k.attnum
     WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
       AND k.place <= i.indnkeyatts
     GROUP BY i.indexrelid
    HAVING bool_and(c.attnotnull IS TRUE AND c.attcollation = k."collation") AND count(DISTINCT k.option & 1) = 1
  )
  SELECT (SELECT json_object_agg(attname, type) FROM columns) AS types,
         coalesce((SELECT json_agg(names ORDER BY indexrelid) FROM keys), '[]') AS keys
   WHERE to_regclass($1) IS NOT NULL`;

/**
 * SQL that names the next rows behind `after` and not behind `bound`: one row with `from`, `to` and `rows`, which
 * are null and 0 where there is none.
 */
export function nextRangeSql(
  key: BackfillKey,
  { after, bound, rows }: { after: KeyValue | null; bound: KeyValue; rows: number },
): string {
  const names = key.columns.map(({ name }) => quoteIdent(name));
  const list = names.join(', ');
  const place = names.length === 1 ? list : `ROW(${list})`;
  const value = `ARRAY[${names.map((name) => `${name}::text`).join(', ')}]`;
  const behind = after === null ? '' : `${place} > ${rowSql(key, after)} AND `;
  return `WITH chunk AS MATERIALIZED (
      SELECT ${list} FROM ${key.table} WHERE ${behind}${place} <= ${rowSql(key, bound)} ORDER BY ${list} LIMIT ${rows})
    SELECT (SELECT ${value} FROM chunk ORDER BY ${list} LIMIT 1) AS "from",
           (SELECT ${value} FROM chunk ORDER BY ${names.map((name) => `${name} DESC`).join(', ')} LIMIT 1) AS "to",
           (SELECT count(*)::int FROM chunk) AS rows`;
}

/** SQL for the key of the table's last row; no row where the table is empty. */
export function lastKeySql(key: BackfillKey): string {
  const names = key.columns.map(({ name }) => quoteIdent(name));
  const value = `ARRAY[${names.map((name) => `${name}::text`).join(', ')}]`;
  return `SELECT ${value} AS key FROM ${key.table} ORDER BY ${names.map((name) => `${name} DESC`).join(', ')} LIMIT 1`;
}

/** The value as SQL: a row, which of one column is that column's value. */
export function rowSql(key: BackfillKey, value: KeyValue): string {
  const parts = key.columns.map(({ type }, index) => `${quoteLiteral(value[index] ?? '')}::${type}`);
  return parts.length === 1 ? `(${parts.join('')})` : `ROW(${parts.join(', ')})`;
}

/** A range for the eyes of a person: `id 101 … 200`. */
export function describeRange({ columns }: BackfillKey, { from, to }: Pick<KeyRange, 'from' | 'to'>): string {
  return `${columns.map(({ name }) => name).join(', ')} ${from.join(', ')} … ${to.join(', ')}`;
}

function tableMissing({ name }: Migration, table: string): FleetError {
  return new FleetError({
    code: 'backfill_table_missing',
    status: 422,
    message: `${name} fills ${table}, which this database does not have`,
    fix: 'name the table as it stands in the catalogue, with its schema where that is not public',
  });
}

function keyUnusable({ name }: Migration, { table, key }: Backfill, keys: string[][]): FleetError {
  const usable = keys.map((columns) => `key="${columns.join(',')}"`);
  return new FleetError({
    code: 'backfill_key_unusable',
    status: 422,
    message: `${name} goes through ${table} by ${key.join(', ')}, which is not the columns of a unique index, in its order, valid, without a condition and never NULL`,
    fix:
      usable.length === 0
        ? `give ${table} such an index in an earlier migration: without it rows could be left out or met twice`
        : `use ${usable.join(' or ')}`,
  });
}
