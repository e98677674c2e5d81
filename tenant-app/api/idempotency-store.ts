import type { Queryable } from '../../platform/pg.ts';

/** What was answered, as it is sent again. */
export interface StoredAnswer {
  status: number;
  body: unknown;
}

/** Whether the key is now ours. Waits for another transaction that has just taken it. */
export async function claimKey(tx: Queryable, key: string, requestHash: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    'INSERT INTO idempotency_keys (key, request_hash) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING',
    [key, requestHash],
  );
  return rowCount === 1;
}

/** Keeps what the request was answered, for its repetitions. */
export async function storeAnswer(tx: Queryable, key: string, answer: StoredAnswer): Promise<void> {
  await tx.query('UPDATE idempotency_keys SET status = $2, body = $3::jsonb WHERE key = $1', [
    key,
    answer.status,
    JSON.stringify(answer.body),
  ]);
}

/** What the key was used for and answered, if it was. */
export async function findAnswer(
  tx: Queryable,
  key: string,
): Promise<{ requestHash: string; answer: StoredAnswer } | undefined> {
  const { rows } = await tx.query<{ request_hash: string; status: number; body: unknown }>(
    'SELECT request_hash, status, body FROM idempotency_keys WHERE key = $1',
    [key],
  );
  const row = rows[0];
  if (row === undefined) return undefined;
  return { requestHash: row.request_hash, answer: { status: row.status, body: row.body } };
}

/** Removes this key when it is older than 24 h, and up to 10 other old ones: the table cleans itself. */
export async function purgeKeys(tx: Queryable, key: string): Promise<void> {
  await tx.query(
    `DELETE FROM idempotency_keys WHERE key IN
       (SELECT key FROM idempotency_keys WHERE created_at < now() - interval '24 hours'
         ORDER BY key = $1 DESC, created_at LIMIT 11 FOR UPDATE SKIP LOCKED)`,
    [key],
  );
}
