import type { Queryable } from '../../platform/pg.ts';
import type { SecretStage } from './secret.ts';
import { VERSION, type VersionRow } from './store.ts';

const UNSETTLED = `(settled_stage IS DISTINCT FROM stage
                    AND NOT (stage = 'retired' AND settled_stage IS NULL))`;

/** Subjects of which the store does not know the latest, the longest waiting first. */
export async function findUnsettled(db: Queryable, limit: number): Promise<string[]> {
  const { rows } = await db.query<{ subject: string }>(
    `SELECT subject FROM secret_versions WHERE ${UNSETTLED}
      GROUP BY subject ORDER BY min(staged_at) LIMIT $1`,
    [limit],
  );
  return rows.map((row) => row.subject);
}

/** Waits until nobody else settles the name, and holds it until the transaction ends. */
export async function lockSettling(tx: Queryable, name: string): Promise<void> {
  await tx.query("SELECT pg_advisory_xact_lock(hashtextextended('settle:' || $1, 0))", [name]);
}

/** The subject's versions that live, and those retired ones that the store has to be told of. */
export async function findToSettle(tx: Queryable, subject: string): Promise<VersionRow[]> {
  const { rows } = await tx.query<VersionRow>(
    `SELECT ${VERSION} FROM secret_versions
      WHERE subject = $1 AND (stage <> 'retired' OR ${UNSETTLED}) ORDER BY created_at, id`,
    [subject],
  );
  return rows;
}

/** Notes what the store was told; a version that has moved on meanwhile stays unsettled. */
export async function markSettled(tx: Queryable, id: string, stage: SecretStage): Promise<void> {
  await tx.query('UPDATE secret_versions SET settled_stage = $2 WHERE id = $1', [id, stage]);
}

/** Every subject that the owner ever had a credential for. */
export async function findSubjects(db: Queryable, owner: string): Promise<string[]> {
  const { rows } = await db.query<{ subject: string }>(
    'SELECT DISTINCT subject FROM secret_versions WHERE owner = $1 ORDER BY subject',
    [owner],
  );
  return rows.map((row) => row.subject);
}

/** Notes that the store has destroyed the owner's secrets. */
export async function markOwnerSettled(tx: Queryable, owner: string): Promise<void> {
  await tx.query(
    `UPDATE secret_versions SET settled_stage = stage
      WHERE owner = $1 AND stage = 'retired' AND settled_stage IS NOT NULL`,
    [owner],
  );
}
