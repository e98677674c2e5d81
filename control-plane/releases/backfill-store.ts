import { quoteLiteral, type PgClient } from '../../platform/pg.ts';
import type { KeyRange, KeyValue } from './backfill-key.ts';

/** SQL of `fleet.backfills` in a tenant's database: how far each backfill is that is not through yet. */
export interface BackfillState {
  migration: string;
  /**
   * The last entry of `pgmigrations` when it began. Another one means that migrations were taken back meanwhile, and
   * perhaps the column with them: then it begins anew.
   */
  base: number;
  /** The last row that is through; null before the first chunk. */
  cursor: KeyValue | null;
  /** The last row of this pass: of those there were at the beginning, then of those that came meanwhile; null for none. */
  bound: KeyValue | null;
  /** Of the next chunk. */
  chunkRows: number;
  rowsDone: number;
  rowsEstimated: number;
  heldMs: number;
  quarantine: QuarantinedRange[];
}

/** Rows that were left out because the statement failed on them. */
export interface QuarantinedRange extends KeyRange {
  sqlState: string;
  message: string;
}

/** Part of schema `fleet`. */
export const BACKFILLS_TABLE_SQL = `
CREATE TABLE IF NOT EXISTS fleet.backfills (
  migration text PRIMARY KEY, base bigint NOT NULL, cursor text[], bound text[], chunk_rows integer NOT NULL,
  rows_done bigint NOT NULL, rows_estimated bigint NOT NULL, held_ms bigint NOT NULL, quarantine jsonb NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());`;

interface Row {
  base: string;
  cursor: KeyValue | null;
  bound: KeyValue | null;
  chunk_rows: number;
  rows_done: string;
  rows_estimated: string;
  held_ms: string;
  quarantine: QuarantinedRange[];
}

/**
 * The state that an earlier run has left, if it still holds, and the `base` of one that begins now. The session is the
 * owner's, whose `pgmigrations` is; schema `fleet` is the migrator's.
 */
export async function readBackfill(
  client: PgClient,
  migration: string,
): Promise<{ state: BackfillState | undefined; base: number }> {
  const { rows: last } = await client.query<{ base: number }>(
    'SELECT coalesce(max(id), 0)::int AS base FROM public.pgmigrations',
  );
  const base = last[0]?.base ?? 0;
  // The driver answers a script with an array, which its types do not say.
  const results: unknown = await client.query(
    `BEGIN; SET LOCAL ROLE NONE; SELECT * FROM fleet.backfills WHERE migration = ${quoteLiteral(migration)}; COMMIT`,
  );
  const row = (results as { rows: Row[] }[])[2]?.rows[0];
  if (row === undefined || Number(row.base) !== base) return { state: undefined, base };
  const state: BackfillState = {
    migration,
    base,
    cursor: row.cursor,
    bound: row.bound,
    chunkRows: row.chunk_rows,
    rowsDone: Number(row.rows_done),
    rowsEstimated: Number(row.rows_estimated),
    heldMs: Number(row.held_ms),
    quarantine: row.quarantine,
  };
  return { state, base };
}

/** SQL that writes the state, for the end of the transaction that makes it true; the role is the migrator's. */
export function saveBackfillSql(state: BackfillState): string {
  const values = [
    quoteLiteral(state.migration),
    state.base,
    keySql(state.cursor),
    keySql(state.bound),
    state.chunkRows,
    state.rowsDone,
    state.rowsEstimated,
    Math.round(state.heldMs),
    `${quoteLiteral(JSON.stringify(state.quarantine))}::jsonb`,
  ];
  return `INSERT INTO fleet.backfills AS b (${COLUMNS}) VALUES (${values.join(', ')})
    ON CONFLICT (migration) DO UPDATE SET ${UPDATES}, updated_at = now(),
      started_at = CASE WHEN b.base = excluded.base THEN b.started_at ELSE now() END;`;
}

/** SQL that forgets the state: the backfill is through, and recorded as any migration. */
export function dropBackfillSql(migration: string): string {
  return `DELETE FROM fleet.backfills WHERE migration = ${quoteLiteral(migration)};`;
}

const CHANGING = [
  'base',
  'cursor',
  'bound',
  'chunk_rows',
  'rows_done',
  'rows_estimated',
  'held_ms',
  'quarantine',
];
const COLUMNS = ['migration', ...CHANGING].join(', ');
const UPDATES = CHANGING.map((name) => `${name} = excluded.${name}`).join(', ');

function keySql(key: KeyValue | null): string {
  return key === null ? 'NULL' : `ARRAY[${key.map(quoteLiteral).join(', ')}]::text[]`;
}
