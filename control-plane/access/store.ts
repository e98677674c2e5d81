import type { ApiKey, Role } from '../../contract/access.ts';
import type { Queryable } from '../../platform/pg.ts';

export type PrincipalKind = 'user' | 'app' | 'system';

/** Inserts a principal unless its name is taken. @returns its id, or undefined when the name is taken. */
export async function insertPrincipal(
  tx: Queryable,
  principal: { id: string; name: string; kind: PrincipalKind },
): Promise<string | undefined> {
  const { rows } = await tx.query<{ id: string }>(
    'INSERT INTO principals (id, name, kind) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING id',
    [principal.id, principal.name, principal.kind],
  );
  return rows[0]?.id;
}

/** The id of the principal of that name, if there is one. */
export async function findPrincipal(db: Queryable, name: string): Promise<string | undefined> {
  const { rows } = await db.query<{ id: string }>('SELECT id FROM principals WHERE name = $1', [name]);
  return rows[0]?.id;
}

export interface KeyRow {
  id: string;
  principalId: string;
  prefix: string;
  hash: string;
  role: Role;
  regions: string[];
  expiresAt: Date | null;
}

/** A taken prefix raises SQLSTATE 23505. */
export async function insertKey(tx: Queryable, key: KeyRow): Promise<void> {
  await tx.query(
    `INSERT INTO api_keys (id, principal_id, prefix, hash, role, regions, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    [key.id, key.principalId, key.prefix, key.hash, key.role, key.regions, key.expiresAt],
  );
}

/** What proves a token: the row with its hash, and how it stands by the registry's own clock. */
export interface KeyProof extends KeyRow {
  name: string;
  revoked: boolean;
  expired: boolean;
  /** Whether last_used_at is old enough to be worth a write. */
  useIsOld: boolean;
}

/** What a token with this prefix is proved by; revoked and expired keys too. */
export async function findKeyByPrefix(db: Queryable, prefix: string): Promise<KeyProof | undefined> {
  const { rows } = await db.query<KeyProof>(
    `SELECT k.id, k.principal_id AS "principalId", k.prefix, k.hash, k.role, k.regions, p.name,
            k.expires_at AS "expiresAt", k.revoked_at IS NOT NULL AS revoked,
            COALESCE(k.expires_at <= now(), false) AS expired,
            COALESCE(k.last_used_at < now() - interval '1 minute', true) AS "useIsOld"
       FROM api_keys k JOIN principals p ON p.id = k.principal_id WHERE k.prefix = $1`,
    [prefix],
  );
  return rows[0];
}

/** At most one write a minute and key: the instant is for spotting keys that nobody uses. */
export async function touchKey(db: Queryable, id: string): Promise<void> {
  await db.query(
    `UPDATE api_keys SET last_used_at = now()
      WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')`,
    [id],
  );
}

const KEY_COLUMNS = `k.id, p.name, k.prefix, k.role, k.regions, k.created_at AS "createdAt",
  k.expires_at AS "expiresAt", k.revoked_at AS "revokedAt", k.last_used_at AS "lastUsedAt"`;

interface ListedKey extends Omit<ApiKey, 'createdAt' | 'expiresAt' | 'revokedAt' | 'lastUsedAt'> {
  createdAt: Date;
  expiresAt: Date | null;
  revokedAt: Date | null;
  lastUsedAt: Date | null;
}

function toApiKey(row: ListedKey): ApiKey {
  return {
    ...row,
    createdAt: row.createdAt.toISOString(),
    expiresAt: row.expiresAt?.toISOString() ?? null,
    revokedAt: row.revokedAt?.toISOString() ?? null,
    lastUsedAt: row.lastUsedAt?.toISOString() ?? null,
  };
}

export interface KeyPage {
  /** Only keys that are bound to these regions and no other; null = all. */
  regions: string[] | null;
  limit: number;
  /** createdAt and id of the last item of the page before. */
  cursor?: { createdAt: string; id: string } | undefined;
}

/** Newest first. */
export async function listKeys(db: Queryable, page: KeyPage): Promise<ApiKey[]> {
  const { rows } = await db.query<ListedKey>(
    `SELECT ${KEY_COLUMNS} FROM api_keys k JOIN principals p ON p.id = k.principal_id
      WHERE ($1::text[] IS NULL OR (cardinality(k.regions) > 0 AND k.regions <@ $1))
        AND ($2::timestamptz IS NULL OR (date_trunc('milliseconds', k.created_at), k.id) < ($2, $3::uuid))
      ORDER BY date_trunc('milliseconds', k.created_at) DESC, k.id DESC LIMIT $4`,
    [page.regions, page.cursor?.createdAt ?? null, page.cursor?.id ?? null, page.limit],
  );
  return rows.map(toApiKey);
}

/** The key as the API shows it; revoked and expired ones too. */
export async function findKey(db: Queryable, id: string): Promise<ApiKey | undefined> {
  const { rows } = await db.query<ListedKey>(
    `SELECT ${KEY_COLUMNS} FROM api_keys k JOIN principals p ON p.id = k.principal_id WHERE k.id = $1`,
    [id],
  );
  return rows[0] === undefined ? undefined : toApiKey(rows[0]);
}

/** All keys that were made for the principal of that name, the newest first, locked until the transaction ends. */
export async function lockKeysOf(tx: Queryable, name: string): Promise<(ApiKey & { live: boolean })[]> {
  // By itself: a statement that waits for the lock does not see the key that its holder has made meanwhile.
  await tx.query('SELECT FROM principals WHERE name = $1 FOR UPDATE', [name]);
  const { rows } = await tx.query<ListedKey & { live: boolean }>(
    `SELECT ${KEY_COLUMNS}, k.revoked_at IS NULL AND coalesce(k.expires_at > now(), true) AS live
       FROM api_keys k JOIN principals p ON p.id = k.principal_id WHERE p.name = $1
      ORDER BY k.created_at DESC, k.id FOR UPDATE OF k`,
    [name],
  );
  return rows.map((row) => ({ ...toApiKey(row), live: row.live }));
}

/** Lets keys end in so many seconds, unless they end sooner. @returns when they do */
export async function endKeys(tx: Queryable, ids: readonly string[], inSeconds: number): Promise<Date> {
  const { rows } = await tx.query<{ at: Date }>(
    `WITH ended AS (
       UPDATE api_keys SET expires_at = least(expires_at, now() + $2 * interval '1 second') WHERE id = ANY ($1))
     SELECT now() + $2 * interval '1 second' AS at`,
    [ids, inSeconds],
  );
  return rows[0]?.at ?? new Date();
}

/** @returns false when it was revoked before. */
export async function revokeKey(tx: Queryable, id: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    'UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL',
    [id],
  );
  return rowCount === 1;
}
