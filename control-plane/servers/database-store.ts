import type { Queryable } from '../../platform/pg.ts';
import { ADVISORY_LOCKS } from '../registry/locks.ts';
import type { DatabaseRecord } from './database.ts';

const COLUMNS = `id, tenant_id AS "tenantId", server_id AS "serverId", name, owner_role AS "ownerRole",
  rw_role AS "rwRole", login_a AS "loginA", login_b AS "loginB", state, schema_version AS "schemaVersion",
  connection_limit AS "connectionLimit"`;

/**
 * Serializes everything that takes or offers room in the region until the transaction ends: reservations,
 * cordon, removal. Two regions whose names hash alike only wait for each other.
 */
export async function lockPlacement(tx: Queryable, region: string): Promise<void> {
  await tx.query('SELECT pg_advisory_xact_lock($1, hashtext($2))', [ADVISORY_LOCKS.placement, region]);
}

/** A dropped row of the same id (an operation that was undone and is tried again) is taken back into use. */
export async function insertReserved(tx: Queryable, row: DatabaseRecord): Promise<void> {
  await tx.query(
    `INSERT INTO databases AS d (id, tenant_id, server_id, name, owner_role, rw_role, login_a, login_b, state,
                                 connection_limit)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'reserved', $9)
     ON CONFLICT (id) DO UPDATE
       SET server_id = excluded.server_id, state = 'reserved', schema_version = NULL, dropped_at = NULL,
           connection_limit = excluded.connection_limit
       WHERE d.state = 'dropped' AND d.tenant_id = excluded.tenant_id`,
    [
      row.id,
      row.tenantId,
      row.serverId,
      row.name,
      row.ownerRole,
      row.rwRole,
      row.loginA,
      row.loginB,
      row.connectionLimit,
    ],
  );
}

/** In any state, dropped ones too. */
export async function findDatabase(db: Queryable, id: string): Promise<DatabaseRecord | undefined> {
  const { rows } = await db.query<DatabaseRecord>(`SELECT ${COLUMNS} FROM databases WHERE id = $1`, [id]);
  return rows[0];
}

/** The tenant's database that is reserved or ready. */
export async function findLiveDatabase(db: Queryable, tenantId: string): Promise<DatabaseRecord | undefined> {
  const { rows } = await db.query<DatabaseRecord>(
    `SELECT ${COLUMNS} FROM databases WHERE tenant_id = $1 AND state <> 'dropped'`,
    [tenantId],
  );
  return rows[0];
}

/** Those of a server that are reserved or ready, by name. */
export async function listServerDatabases(db: Queryable, serverId: string): Promise<DatabaseRecord[]> {
  const { rows } = await db.query<DatabaseRecord>(
    `SELECT ${COLUMNS} FROM databases WHERE server_id = $1 AND state <> 'dropped' ORDER BY name`,
    [serverId],
  );
  return rows;
}

/** reserved → ready. Idempotent. */
export async function markDatabaseReady(
  tx: Queryable,
  id: string,
  schemaVersion: string | null,
  stamp: object | null = null,
): Promise<void> {
  await tx.query(
    `UPDATE databases SET state = 'ready', schema_version = $2, schema_stamp = $3
      WHERE id = $1 AND state = 'reserved'`,
    [id, schemaVersion, stamp === null ? null : JSON.stringify(stamp)],
  );
}

export interface SchemaVersion {
  databaseId: string;
  schemaVersion: string | null;
}

/** Stores how far many databases are, in one statement; unchanged ones are not touched. Stamps stay as they are. */
export async function setSchemaVersions(tx: Queryable, versions: SchemaVersion[]): Promise<void> {
  if (versions.length === 0) return;
  await tx.query(setSchemaVersionsSql('unnest($1::uuid[], $2::text[])'), [
    versions.map((version) => version.databaseId),
    versions.map((version) => version.schemaVersion),
  ]);
}

function setSchemaVersionsSql(source: string): string {
  return `UPDATE databases d SET schema_version = v.schema_version
            FROM ${source} AS v (id, schema_version)
           WHERE d.id = v.id AND d.state = 'ready' AND d.schema_version IS DISTINCT FROM v.schema_version`;
}

/**
 * SQL that stores the same with the stamp of each schema, as part of a larger statement: `source` gives database id,
 * schema version and stamp. Elsewhere the old stamp may stay: it says of which version it is.
 */
export function setProvenVersionsSql(source: string): string {
  return `UPDATE databases d SET schema_version = v.schema_version, schema_stamp = v.schema_stamp
            FROM ${source} AS v (id, schema_version, schema_stamp)
           WHERE d.id = v.id AND d.state = 'ready'
             AND (d.schema_version, d.schema_stamp) IS DISTINCT FROM (v.schema_version, v.schema_stamp)`;
}

/**
 * Stores stamps alone. Rows that somebody else holds are passed over: a stamp that is missing or old only costs time.
 */
export async function setSchemaStamps(
  tx: Queryable,
  stamps: readonly { databaseId: string; stamp: object | null }[],
): Promise<void> {
  if (stamps.length === 0) return;
  await tx.query(
    `WITH given AS (SELECT * FROM jsonb_to_recordset($1::jsonb) AS g ("databaseId" uuid, stamp jsonb)),
          free AS (SELECT d.id, nullif(g.stamp, 'null') AS stamp FROM databases d JOIN given g ON g."databaseId" = d.id
                    WHERE d.schema_stamp IS DISTINCT FROM nullif(g.stamp, 'null')
                      FOR NO KEY UPDATE OF d SKIP LOCKED)
     UPDATE databases d SET schema_stamp = free.stamp FROM free WHERE d.id = free.id`,
    [JSON.stringify(stamps)],
  );
}

/** The database is gone from its server; the row stays as history. Idempotent. */
export async function markDatabaseDropped(tx: Queryable, id: string): Promise<void> {
  await tx.query(
    "UPDATE databases SET state = 'dropped', dropped_at = now() WHERE id = $1 AND state <> 'dropped'",
    [id],
  );
}

/** Gives back the room of a database that never became ready. Harmless when it is gone. */
export async function releaseReservation(tx: Queryable, id: string): Promise<void> {
  await tx.query(
    `DELETE FROM databases WHERE id = $1 AND state = 'reserved'
        AND NOT EXISTS (SELECT FROM rollout_targets WHERE database_id = $1)`,
    [id],
  );
  // It was ready for a moment, and a rollout has taken note of it: then its row stays, as history.
  await tx.query(
    "UPDATE databases SET state = 'dropped', dropped_at = now() WHERE id = $1 AND state = 'reserved'",
    [id],
  );
}

/** A database that became ready and is to be undone: it counts as reserved until it is physically gone. */
export async function markDatabaseReserved(tx: Queryable, id: string): Promise<void> {
  await tx.query(
    "UPDATE databases SET state = 'reserved', schema_version = NULL WHERE id = $1 AND state = 'ready'",
    [id],
  );
}
