import type { Queryable } from '../../platform/pg.ts';

/** An answer as it was sent the first time. `body` is its exact JSON text, sealed where it holds a secret. */
export interface StoredAnswer {
  requestHash: string;
  status: number;
  headers: Record<string, string>;
  body: string | { sealed: string } | null;
}

/** Requests with one key wait for each other until the first one's transaction is over. */
export async function lockIdempotencyKey(tx: Queryable, principalId: string, key: string): Promise<void> {
  await tx.query("SELECT pg_advisory_xact_lock(hashtextextended('idempotency:' || $1 || ':' || $2, 0))", [
    principalId,
    key,
  ]);
}

/** The answer to the request that first carried the key, in the last 24 hours. */
export async function findAnswer(
  tx: Queryable,
  principalId: string,
  key: string,
): Promise<StoredAnswer | undefined> {
  const { rows } = await tx.query<StoredAnswer>(
    `SELECT request_hash AS "requestHash", status, headers, body FROM idempotency_keys
      WHERE principal_id = $1 AND key = $2 AND created_at > now() - interval '24 hours'`,
    [principalId, key],
  );
  return rows[0];
}

/** Replaces an answer that is older than 24 hours and only waits to be forgotten. */
export async function storeAnswer(
  tx: Queryable,
  principalId: string,
  key: string,
  answer: StoredAnswer,
): Promise<void> {
  await tx.query(
    `INSERT INTO idempotency_keys (principal_id, key, request_hash, status, headers, body)
     VALUES ($1, $2, $3, $4, $5::jsonb, $6::jsonb)
     ON CONFLICT (principal_id, key) DO UPDATE SET request_hash = excluded.request_hash,
       status = excluded.status, headers = excluded.headers, body = excluded.body, created_at = now()`,
    [
      principalId,
      key,
      answer.requestHash,
      answer.status,
      JSON.stringify(answer.headers),
      JSON.stringify(answer.body),
    ],
  );
}

/** Deletes answers that are older than 24 hours. For a schedule. */
export async function forgetOldIdempotencyKeys(db: Queryable): Promise<void> {
  await db.query("DELETE FROM idempotency_keys WHERE created_at <= now() - interval '24 hours'");
}
