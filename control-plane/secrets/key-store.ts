import { randomUUID } from 'node:crypto';
import type { Queryable } from '../../platform/pg.ts';

/** An owner's data key, wrapped by the master key. */
export interface WrappedKey {
  owner: string;
  wrapped: Buffer;
}

export interface DataKeyRow extends WrappedKey {
  /** Set: it must not be used any more. */
  destroyAt: Date | null;
}

/** Those of the owners that have a key. */
export async function findDataKeys(db: Queryable, owners: string[]): Promise<DataKeyRow[]> {
  const { rows } = await db.query<DataKeyRow>(
    'SELECT owner, wrapped, destroy_at AS "destroyAt" FROM data_keys WHERE owner = ANY ($1)',
    [owners],
  );
  return rows;
}

/** Undefined when another transaction has made the owner's key meanwhile. */
export async function insertDataKey(
  tx: Queryable,
  owner: string,
  wrapped: Buffer,
): Promise<DataKeyRow | undefined> {
  const { rows } = await tx.query<DataKeyRow>(
    `INSERT INTO data_keys (id, owner, wrapped) VALUES ($1, $2, $3)
     ON CONFLICT (owner) DO NOTHING RETURNING owner, wrapped, destroy_at AS "destroyAt"`,
    [randomUUID(), owner, wrapped],
  );
  return rows[0];
}

/** Keeps the date of an earlier call. Undefined when the owner has no key. */
export async function setDestroyAt(db: Queryable, owner: string, days: number): Promise<Date | undefined> {
  const { rows } = await db.query<{ at: Date }>(
    `UPDATE data_keys SET destroy_at = coalesce(destroy_at, now() + make_interval(days => $2))
      WHERE owner = $1 RETURNING destroy_at AS at`,
    [owner, days],
  );
  return rows[0]?.at;
}

/** False when the owner has no key, or none any more. */
export async function clearDestroyAt(db: Queryable, owner: string): Promise<boolean> {
  const { rowCount } = await db.query('UPDATE data_keys SET destroy_at = NULL WHERE owner = $1', [owner]);
  return rowCount === 1;
}

/** Deletes the key if its retention is over: what was sealed under it is unreadable for good. */
export async function deleteDueKey(db: Queryable, owner: string): Promise<void> {
  await db.query('DELETE FROM data_keys WHERE owner = $1 AND destroy_at <= now()', [owner]);
}

/** Deletes the key now. */
export async function deleteDataKey(db: Queryable, owner: string): Promise<void> {
  await db.query('DELETE FROM data_keys WHERE owner = $1', [owner]);
}
