import { FleetError } from '../../platform/errors.ts';
import { findRange } from './backfill-chunk.ts';
import { lastKeySql, rowSql, type KeyValue } from './backfill-key.ts';
import { refuseToStop, type BackfillRun } from './backfill-run.ts';
import { isRanged, rangedSql } from './backfill-statement.ts';
import { CONCURRENT_STATEMENT_TIMEOUT_MS, SEARCH_PATH } from './session.ts';

/** Rows of one range: counting as many takes tens of milliseconds. */
const RANGE_ROWS = 50_000;

/**
 * Asks the verification query, whole or range by range, as the owner and without a right to write.
 * @throws FleetError 422 `backfill_unverified` when it does not answer 0
 */
export async function verifyBackfill(run: BackfillRun): Promise<void> {
  const verify = run.migration.backfill?.verify ?? null;
  if (verify === null) return;
  const left = (await isRanged(verify)) ? await countByRanges(run, verify) : await count(run, verify);
  if (left !== 0) throw unverified(run, left);
}

async function countByRanges(run: BackfillRun, verify: string): Promise<number> {
  const query = await rangedSql(verify);
  const bound = await lastKey(run);
  let left = 0;
  let after: KeyValue | null = null;
  while (bound !== null) {
    refuseToStop(run);
    const range = await findRange(run, { after, bound, rows: RANGE_ROWS });
    if (range === undefined) return left;
    left += await count(run, query(rowSql(run.key, range.from), rowSql(run.key, range.to)));
    after = range.to;
  }
  return left;
}

async function count({ client }: BackfillRun, sql: string): Promise<number> {
  // The driver answers a script with an array, which its types do not say.
  const results: unknown = await client.query(
    `BEGIN READ ONLY; SET LOCAL statement_timeout = ${CONCURRENT_STATEMENT_TIMEOUT_MS};
     SET LOCAL search_path TO ${SEARCH_PATH}; ${sql}\n; COMMIT`,
  );
  const [row = {}] = (results as { rows: Record<string, unknown>[] }[])[3]?.rows ?? [];
  const [value] = Object.values(row);
  // NULL, no row, or no number at all is no proof.
  return value === null || value === undefined ? Number.NaN : Number(value);
}

/** The table's last row in the order of the key; null where it is empty. */
export async function lastKey({
  client,
  key,
}: Pick<BackfillRun, 'client' | 'key'>): Promise<KeyValue | null> {
  const { rows } = await client.query<{ key: KeyValue }>(lastKeySql(key));
  return rows[0]?.key ?? null;
}

function unverified({ migration, state }: BackfillRun, left: number): FleetError {
  const found = Number.isNaN(left) ? 'no number' : String(left);
  return new FleetError({
    code: 'backfill_unverified',
    status: 422,
    message: `${migration.name} went through all rows (${state.rowsDone}), yet its verification query answers ${found}, not 0`,
    fix: 'rows that came or changed meanwhile are not covered: an earlier migration has to give the column a default or the table a trigger; fill those that are left, and retry',
  });
}
