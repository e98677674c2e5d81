import type { Drift, DriftFilter } from '../../contract/drift.ts';
import type { Match } from '../../contract/rollout.ts';
import type { Queryable } from '../../platform/pg.ts';
import { MATCH_SQL, matchValues } from '../tenants/match-store.ts';
import type { Finding } from './drift.ts';

/** SQL of `database_drift`. Reads of tenants, databases and servers are joins. */

/** A database to look at. */
export interface DriftTarget {
  databaseId: string;
  tenant: string;
  region: string;
  serverId: string;
  database: string;
  ownerRole: string;
  rwRole: string;
  logins: string[];
  /** The difference that a person has accepted. */
  accepted: string | null;
  /** Whether it differed when it was looked at last. */
  differed: boolean;
}

const TARGETS_SQL = `
  SELECT d.id AS "databaseId", t.slug AS tenant, t.region, d.server_id AS "serverId", d.name AS database,
         d.owner_role AS "ownerRole", d.rw_role AS "rwRole", ARRAY[d.login_a, d.login_b] AS logins,
         x.accepted_difference AS accepted, x.difference IS NOT NULL AS differed
    FROM tenants t
    JOIN databases d ON d.tenant_id = t.id AND d.state = 'ready'
    JOIN servers s ON s.id = d.server_id
    LEFT JOIN database_drift x ON x.database_id = d.id`;

const LIVE_SQL = `${TARGETS_SQL} WHERE t.state IN ('active', 'suspended')`;

/** The databases of live tenants that `match` takes, in the order of names; `regions` null means all. */
export async function targetsByMatch(
  db: Queryable,
  match: Match,
  regions: string[] | null,
): Promise<DriftTarget[]> {
  const { rows } = await db.query<DriftTarget>(
    `${LIVE_SQL} AND ${MATCH_SQL} ORDER BY t.slug`,
    matchValues(match, regions),
  );
  return rows;
}

/** The same of databases by their ids; those of tenants that are not live are left out. */
export async function targetsById(db: Queryable, databaseIds: readonly string[]): Promise<DriftTarget[]> {
  const { rows } = await db.query<DriftTarget>(`${LIVE_SQL} AND d.id = ANY ($1) ORDER BY t.slug`, [
    databaseIds,
  ]);
  return rows;
}

/** One database, whatever state its tenant is in; undefined when it is gone. */
export async function findTarget(db: Queryable, databaseId: string): Promise<DriftTarget | undefined> {
  const { rows } = await db.query<DriftTarget>(`${TARGETS_SQL} WHERE d.id = $1`, [databaseId]);
  return rows[0];
}

/** Stores what was found. What was accepted is forgotten once the database is as it should be. */
export async function upsertFindings(tx: Queryable, findings: readonly Finding[]): Promise<void> {
  if (findings.length === 0) return;
  const rows = findings.map(({ comparison, stamp: _stamp, ...finding }) => ({ ...finding, ...comparison }));
  await tx.query(
    `INSERT INTO database_drift AS d (database_id, schema_version, fingerprint, expected, difference, diff, changes,
                                      since, checked_at)
     SELECT f."databaseId", f."schemaVersion", f.fingerprint, f.expected, f.difference, f.diff, f.changes,
            CASE WHEN f.difference IS NOT NULL THEN now() END, now()
       FROM jsonb_to_recordset($1::jsonb) AS f ("databaseId" uuid, "schemaVersion" text, fingerprint text,
              expected text, difference text, diff text, changes jsonb)
       JOIN databases b ON b.id = f."databaseId"
      ORDER BY f."databaseId"
     ON CONFLICT (database_id) DO UPDATE
       SET schema_version = excluded.schema_version, fingerprint = excluded.fingerprint,
           expected = excluded.expected, difference = excluded.difference, diff = excluded.diff,
           changes = excluded.changes, checked_at = excluded.checked_at,
           since = CASE WHEN excluded.difference IS NOT NULL THEN coalesce(d.since, excluded.since) END,
           accepted_difference = CASE WHEN excluded.difference IS NOT NULL THEN d.accepted_difference END,
           accepted_by = CASE WHEN excluded.difference IS NOT NULL THEN d.accepted_by END,
           accepted_reason = CASE WHEN excluded.difference IS NOT NULL THEN d.accepted_reason END,
           accepted_at = CASE WHEN excluded.difference IS NOT NULL THEN d.accepted_at END`,
    [JSON.stringify(rows)],
  );
}

/** The row as the API shows it, with the sort key of the list. */
export type DriftRow = Omit<Drift, 'since' | 'checkedAt' | 'accepted'> & {
  databaseId: string;
  since: Date;
  checkedAt: Date;
  acceptedBy: string | null;
  acceptedReason: string | null;
  acceptedAt: Date | null;
};

const DRIFT_SQL = `
  SELECT t.slug AS tenant, t.id AS "tenantId", t.region, s.name AS server, b.name AS database, b.id AS "databaseId",
         CASE WHEN d.difference = d.accepted_difference THEN 'accepted' ELSE 'drifted' END AS state,
         d.schema_version AS "schemaVersion", d.since, d.checked_at AS "checkedAt", d.fingerprint, d.expected,
         d.changes, d.diff, d.accepted_by AS "acceptedBy", d.accepted_reason AS "acceptedReason",
         d.accepted_at AS "acceptedAt"
    FROM database_drift d
    JOIN databases b ON b.id = d.database_id AND b.state = 'ready'
    JOIN servers s ON s.id = b.server_id
    JOIN tenants t ON t.id = b.tenant_id AND t.state <> 'deleted'
   WHERE d.difference IS NOT NULL`;

export interface DriftPage extends DriftFilter {
  /** Null means all. */
  regions: string[] | null;
  after?: { tenant: string } | undefined;
  limit: number;
}

/** Databases that differ, by tenant. */
export async function listDrift(db: Queryable, page: DriftPage): Promise<DriftRow[]> {
  const { rows } = await db.query<DriftRow>(
    `SELECT * FROM (${DRIFT_SQL}) AS drift
      WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR tenant = $2 OR "tenantId"::text = $2)
        AND ($3::text IS NULL OR region = $3) AND ($4::text[] IS NULL OR region = ANY ($4))
        AND ($5::text IS NULL OR tenant > $5)
      ORDER BY tenant LIMIT $6`,
    [
      page.state ?? null,
      page.tenant ?? null,
      page.region ?? null,
      page.regions,
      page.after?.tenant ?? null,
      page.limit,
    ],
  );
  return rows;
}

/** What is known of one tenant's database, its row locked until the transaction ends; undefined: no drift. */
export async function lockDrift(tx: Queryable, tenantId: string): Promise<DriftRow | undefined> {
  const { rows } = await tx.query<DriftRow>(`${DRIFT_SQL} AND t.id = $1 FOR UPDATE OF d`, [tenantId]);
  return rows[0];
}

/** Accepts the difference that the row has now; false when the schema is another than `fingerprint` by now. */
export async function acceptDifference(
  tx: Queryable,
  accepted: { databaseId: string; fingerprint: string; by: string; reason: string },
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `UPDATE database_drift SET accepted_difference = difference, accepted_by = $3, accepted_reason = $4,
            accepted_at = now()
      WHERE database_id = $1 AND fingerprint = $2 AND difference IS NOT NULL`,
    [accepted.databaseId, accepted.fingerprint, accepted.by, accepted.reason],
  );
  return rowCount === 1;
}

/** The accepted difference of each database that has one. */
export async function acceptedDifferences(
  db: Queryable,
  databaseIds: readonly string[],
): Promise<Map<string, string>> {
  const { rows } = await db.query<{ id: string; accepted: string }>(
    `SELECT database_id AS id, accepted_difference AS accepted FROM database_drift
      WHERE database_id = ANY ($1) AND accepted_difference IS NOT NULL`,
    [databaseIds],
  );
  return new Map(rows.map(({ id, accepted }) => [id, accepted]));
}

/** Of the databases, those that the last look found drifted; no database is visited. */
export async function knownDrift(
  db: Queryable,
  databaseIds: readonly string[],
): Promise<Pick<DriftRow, 'databaseId' | 'tenant' | 'region' | 'changes'>[]> {
  const { rows } = await db.query<DriftRow>(
    `SELECT "databaseId", tenant, region, changes FROM (${DRIFT_SQL}) AS drift
      WHERE state = 'drifted' AND "databaseId" = ANY ($1) ORDER BY tenant`,
    [databaseIds],
  );
  return rows;
}
