import type { Queryable } from '../../platform/pg.ts';
import type { ReleaseRecord } from './store.ts';

/** SQL of the releases that were taken back: `withdrawn_releases` and `withdrawn_migrations`. */
export interface WithdrawnRecord {
  name: string;
  head: string;
  checksum: string;
  /** Names of the migrations that went with it, in their order. */
  migrations: string[];
  withdrawnBy: string;
  withdrawnAt: Date;
  reason: string;
}

export async function findWithdrawn(db: Queryable, name: string): Promise<WithdrawnRecord | undefined> {
  const { rows } = await db.query<WithdrawnRecord>(
    `SELECT w.name, w.head, w.checksum, w.withdrawn_by AS "withdrawnBy", w.withdrawn_at AS "withdrawnAt", w.reason,
            ARRAY(SELECT m.name FROM withdrawn_migrations m WHERE m.release = w.name ORDER BY m.ordinal) AS migrations
       FROM withdrawn_releases w WHERE w.name = $1`,
    [name],
  );
  return rows[0];
}

/** Holds the release against plans that are being made of it, and they against this, until the transaction ends. */
export async function lockRelease(
  tx: Queryable,
  name: string,
  mode: 'shared' | 'exclusive',
): Promise<ReleaseRecord | undefined> {
  const { rows } = await tx.query<ReleaseRecord>(
    `SELECT name, head, head_ordinal AS "headOrdinal", checksum, published_by AS "publishedBy",
            published_at AS "publishedAt"
       FROM releases WHERE name = $1 ${mode === 'shared' ? 'FOR KEY SHARE' : 'FOR UPDATE'}`,
    [name],
  );
  return rows[0];
}

/** No database comes into being from here to the commit: whoever is making one has committed, or sees what came of this. */
export async function holdDatabases(tx: Queryable): Promise<void> {
  await tx.query('LOCK TABLE databases IN SHARE MODE');
}

/** Names of the releases that end behind `headOrdinal`, the newest first. */
export async function releasesAfter(db: Queryable, headOrdinal: number): Promise<string[]> {
  const { rows } = await db.query<{ name: string }>(
    'SELECT name FROM releases WHERE head_ordinal > $1 ORDER BY head_ordinal DESC',
    [headOrdinal],
  );
  return rows.map(({ name }) => name);
}

/** Moves the release and the migrations behind `floor`, its own, out of the list. It must be the last one of it. */
export async function moveToWithdrawn(
  tx: Queryable,
  { name, floor, by, reason }: { name: string; floor: number; by: string; reason: string },
): Promise<void> {
  await tx.query(
    `INSERT INTO withdrawn_releases (name, head, head_ordinal, checksum, published_by, published_at, withdrawn_by, reason)
     SELECT name, head, head_ordinal, checksum, published_by, published_at, $2, $3 FROM releases WHERE name = $1`,
    [name, by, reason],
  );
  await tx.query(
    `INSERT INTO withdrawn_migrations (release, ordinal, name, migration, findings)
     SELECT $1, m.ordinal, m.name, to_jsonb(m), f.findings
       FROM migrations m LEFT JOIN migration_findings f ON f.migration = m.name WHERE m.ordinal > $2`,
    [name, floor],
  );
  await tx.query('DELETE FROM releases WHERE name = $1', [name]);
  await tx.query(
    'DELETE FROM migration_findings f USING migrations m WHERE m.name = f.migration AND m.ordinal > $1',
    [floor],
  );
  await tx.query('DELETE FROM migrations WHERE ordinal > $1', [floor]);
}
