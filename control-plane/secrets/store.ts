import type { SecretVersion } from '../../contract/secret.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { SealedValue, SecretPlace } from './keys/key-service.ts';
import type { SecretStage } from './secret.ts';

export interface VersionRow {
  id: string;
  owner: string;
  subject: string;
  region: string;
  login: string;
  stage: SecretStage;
  /** The stage that a remote store knows; null when it does not have the value, or the store is local. */
  settledStage: SecretStage | null;
}

export const VERSION = 'id, owner, subject, region, login, stage, settled_stage AS "settledStage"';

/** Stores the value of a version. False when it has one: then nothing is changed. */
export async function insertSealed(tx: Queryable, versionId: string, sealed: Buffer): Promise<boolean> {
  const { rowCount } = await tx.query(
    'INSERT INTO sealed_secrets (version_id, sealed) VALUES ($1, $2) ON CONFLICT (version_id) DO NOTHING',
    [versionId, sealed],
  );
  return rowCount === 1;
}

/** The sealed values of those versions that have one, and whose owner has a key. */
export async function readSealed(db: Queryable, versionIds: string[]): Promise<SealedValue[]> {
  const { rows } = await db.query<SecretPlace & { sealed: Buffer }>(
    `SELECT v.id AS "versionId", v.owner, v.subject, v.region, s.sealed
       FROM secret_versions v
       JOIN sealed_secrets s ON s.version_id = v.id
      WHERE v.id = ANY ($1::uuid[]) AND EXISTS (SELECT FROM data_keys k WHERE k.owner = v.owner)`,
    [versionIds],
  );
  return rows.map(({ sealed, ...place }) => ({ place, sealed }));
}

/**
 * Inserts the version, or brings back a retired one of the same id (an operation that was undone and is
 * tried again), which `revivable` stages allow. Undefined when the id already stands in another stage: then
 * nothing is changed.
 */
export async function insertVersion(
  tx: Queryable,
  row: Omit<VersionRow, 'settledStage'>,
  revivable: SecretStage[],
): Promise<VersionRow | undefined> {
  const { rows } = await tx.query<VersionRow>(
    `INSERT INTO secret_versions AS v (id, owner, subject, region, login, stage)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (id) DO UPDATE SET stage = excluded.stage, login = excluded.login, staged_at = now()
       WHERE v.stage = ANY ($7) AND v.owner = excluded.owner AND v.subject = excluded.subject
     RETURNING ${VERSION}`,
    [row.id, row.owner, row.subject, row.region, row.login, row.stage, revivable],
  );
  return rows[0];
}

/** A version in any stage, if there is one. */
export async function findVersion(db: Queryable, id: string): Promise<VersionRow | undefined> {
  const { rows } = await db.query<VersionRow>(`SELECT ${VERSION} FROM secret_versions WHERE id = $1`, [id]);
  return rows[0];
}

/** Those of the versions that there are, in any stage. */
export async function findVersions(db: Queryable, ids: string[]): Promise<VersionRow[]> {
  const { rows } = await db.query<VersionRow>(
    `SELECT ${VERSION} FROM secret_versions WHERE id = ANY ($1::uuid[])`,
    [ids],
  );
  return rows;
}

/** Like findVersion, holding the row until the transaction ends. */
export async function lockVersion(tx: Queryable, id: string): Promise<VersionRow | undefined> {
  const { rows } = await tx.query<VersionRow>(
    `SELECT ${VERSION} FROM secret_versions WHERE id = $1 FOR UPDATE`,
    [id],
  );
  return rows[0];
}

/** The subject's version in a stage of which there is at most one. */
export async function findStaged(
  db: Queryable,
  subject: string,
  stage: 'pending' | 'current' | 'previous',
): Promise<VersionRow | undefined> {
  const { rows } = await db.query<VersionRow>(
    `SELECT ${VERSION} FROM secret_versions WHERE subject = $1 AND stage = $2`,
    [subject, stage],
  );
  return rows[0];
}

/** All versions of the subject that are not retired, locked until the transaction ends. */
export async function lockVersions(tx: Queryable, subject: string): Promise<VersionRow[]> {
  const { rows } = await tx.query<VersionRow>(
    `SELECT ${VERSION} FROM secret_versions WHERE subject = $1 AND stage <> 'retired' ORDER BY id FOR UPDATE`,
    [subject],
  );
  return rows;
}

/** Moves one version; does nothing when it no longer stands in `from`. */
export async function moveStage(
  tx: Queryable,
  id: string,
  from: SecretStage,
  to: SecretStage,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    'UPDATE secret_versions SET stage = $3, staged_at = now() WHERE id = $1 AND stage = $2',
    [id, from, to],
  );
  return rowCount === 1;
}

/** Deletes a value for good. Harmless when there is none. */
export async function deleteSealed(tx: Queryable, versionId: string): Promise<void> {
  await tx.query('DELETE FROM sealed_secrets WHERE version_id = $1', [versionId]);
}

/** Retires all versions of the owner. Returns the regions that it had some in: one, or none. */
export async function retireOwner(
  tx: Queryable,
  owner: string,
  retire: { from: SecretStage[]; to: SecretStage },
): Promise<string[]> {
  await tx.query(
    'UPDATE secret_versions SET stage = $3, staged_at = now() WHERE owner = $1 AND stage = ANY ($2)',
    [owner, retire.from, retire.to],
  );
  const { rows } = await tx.query<{ region: string }>(
    'SELECT DISTINCT region FROM secret_versions WHERE owner = $1',
    [owner],
  );
  return rows.map((row) => row.region);
}

/** Deletes every value of the owner that is in the registry. */
export async function deleteOwnerValues(tx: Queryable, owner: string): Promise<void> {
  await tx.query(
    'DELETE FROM sealed_secrets WHERE version_id IN (SELECT id FROM secret_versions WHERE owner = $1)',
    [owner],
  );
}

export interface VersionPage {
  region: string | undefined;
  /** Slug of a tenant or name of a server. */
  name: string | undefined;
  /** Only current versions that have been so for longer. */
  olderThanSeconds: number | undefined;
  /** null = all. */
  regions: string[] | null;
  /** Key of the last item of the page before. */
  after: VersionKey | undefined;
  limit: number;
  /** An app instance that was silent for longer uses nothing any more. */
  silentMinutesMax: number;
}

/** Where a version stands in the list; `at` is PostgreSQL's own text, which keeps the microseconds. */
export interface VersionKey {
  at: string;
  id: string;
}

interface ListedVersion {
  key: VersionKey;
  version: SecretVersion;
}

type Stored = Omit<SecretVersion, 'createdAt' | 'stagedAt'> & { createdAt: Date; stagedAt: Date; at: string };

/**
 * Metadata of versions, oldest first. Reads the names of owners from `tenants` and `servers`: the only place
 * where this slice looks upward, and it only reads.
 */
export async function listVersions(db: Queryable, page: VersionPage): Promise<ListedVersion[]> {
  const { rows } = await db.query<Stored>(
    `WITH page AS (
       SELECT * FROM secret_versions v
        WHERE ($1::text IS NULL OR v.region = $1)
          AND ($2::text[] IS NULL OR v.region = ANY ($2))
          AND ($3::text IS NULL OR v.owner IN (
                SELECT 'tenant:' || id FROM tenants WHERE slug = $3 AND state <> 'deleted'
                UNION ALL SELECT 'server:' || id FROM servers WHERE name = $3 AND state <> 'retired'))
          AND ($8::int IS NULL OR v.stage = 'current' AND v.staged_at <= now() - make_interval(secs => $8))
          AND ($4::timestamptz IS NULL OR (v.created_at, v.id) > ($4, $5::uuid))
        ORDER BY v.created_at, v.id LIMIT $6)
     SELECT p.id, p.subject, coalesce(t.slug, s.name, p.owner) AS name, p.region, p.login, p.stage,
            p.created_at AS "createdAt", p.staged_at AS "stagedAt", p.created_at::text AS at,
            p.retired_because AS "retiredBecause",
            CASE WHEN p.stage = 'previous' AND t.id IS NOT NULL THEN unacknowledged(t.id, $7) END AS unacknowledged
       FROM page p
       LEFT JOIN tenants t ON p.owner = 'tenant:' || t.id AND t.id = split_part(p.owner, ':', 2)::uuid
       LEFT JOIN servers s ON p.owner = 'server:' || s.id AND s.id = split_part(p.owner, ':', 2)::uuid
      ORDER BY p.created_at, p.id`,
    [
      page.region ?? null,
      page.regions,
      page.name ?? null,
      page.after?.at ?? null,
      page.after?.id ?? null,
      page.limit,
      page.silentMinutesMax,
      page.olderThanSeconds ?? null,
    ],
  );
  return rows.map(({ at, ...row }) => ({
    key: { at, id: row.id },
    version: { ...row, createdAt: row.createdAt.toISOString(), stagedAt: row.stagedAt.toISOString() },
  }));
}

/** When somebody looks again whether the version may go. */
export async function lookAgain(tx: Queryable, id: string, inMs: number): Promise<void> {
  await tx.query("UPDATE secret_versions SET look_at = now() + $2 * interval '1 millisecond' WHERE id = $1", [
    id,
    inMs,
  ]);
}

/** The version has leaked: it is closed at once. */
export async function markRevoked(tx: Queryable, id: string): Promise<void> {
  await tx.query('UPDATE secret_versions SET revoked = true WHERE id = $1', [id]);
}

/** Says of a retired version why it opens nothing any more. */
export async function noteRetired(tx: Queryable, id: string, because: string): Promise<void> {
  await tx.query('UPDATE secret_versions SET retired_because = $2 WHERE id = $1', [id, because]);
}
