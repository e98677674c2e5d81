import type { Queryable } from '../../platform/pg.ts';
import { SCHEMA_FORMAT, type Schema } from '../releases/schema.ts';

/** SQL of `schema_references`. */
export interface ReferenceKey {
  /** Chain over the checksums of all migrations of the version (releaseChecksum). */
  checksum: string;
  serverMajor: number;
}

export async function findReference(db: Queryable, key: ReferenceKey): Promise<Schema | undefined> {
  const { rows } = await db.query<Schema>(
    `SELECT fingerprint, description FROM schema_references
      WHERE checksum = $1 AND server_major = $2 AND format = $3`,
    [key.checksum, key.serverMajor, SCHEMA_FORMAT],
  );
  return rows[0];
}

/** The first one stays: two that are made at once are the same. */
export async function insertReference(db: Queryable, key: ReferenceKey, schema: Schema): Promise<void> {
  await db.query(
    `INSERT INTO schema_references (checksum, server_major, format, fingerprint, description)
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
    [key.checksum, key.serverMajor, SCHEMA_FORMAT, schema.fingerprint, schema.description],
  );
}
