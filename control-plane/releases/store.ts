import type { Finding } from '../../contract/lint.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { ServerRange } from '../../platform/sql-lint/rule.ts';
import { ADVISORY_LOCKS } from '../registry/locks.ts';
import { TENANTS_NAMED, type Holders } from './offer.ts';
import type { Migration } from './release.ts';

/** A point on the list of migrations. */
export interface ReleaseRecord {
  name: string;
  head: string;
  headOrdinal: number;
  checksum: string;
  publishedBy: string;
  publishedAt: Date;
}

/** A release with what is known about the fleet: databases at or past its head, and databases behind it. */
export interface ReleaseStanding extends ReleaseRecord {
  current: boolean;
  applied: number;
  behind: number;
}

interface MigrationRow {
  name: string;
  ordinal: number;
  checksum: string;
  up_sql: string;
  down_sql: string | null;
  phase: Migration['phase'];
  transactional: boolean;
  lock_timeout_ms: number | null;
  statement_timeout_ms: number | null;
  statements: string[] | null;
  backfill: Migration['backfill'] | null;
  requires_app: string | null;
  out_of_order: boolean;
}

/** The published migrations in order, all of them or up to `upToOrdinal` (inclusive). */
export async function listMigrations(db: Queryable, upToOrdinal?: number): Promise<Migration[]> {
  const { rows } = await db.query<MigrationRow>(
    `SELECT name, ordinal, checksum, up_sql, down_sql, phase, transactional, lock_timeout_ms,
            statement_timeout_ms, statements, backfill, requires_app, out_of_order
       FROM migrations WHERE $1::int IS NULL OR ordinal <= $1 ORDER BY ordinal`,
    [upToOrdinal ?? null],
  );
  return rows.map((row) => ({
    name: row.name,
    ordinal: row.ordinal,
    checksum: row.checksum,
    upSql: row.up_sql,
    downSql: row.down_sql,
    phase: row.phase,
    transactional: row.transactional,
    lockTimeoutMs: row.lock_timeout_ms,
    statementTimeoutMs: row.statement_timeout_ms,
    statements: row.statements,
    backfill: row.backfill ?? undefined,
    requiresApp: row.requires_app ?? undefined,
    outOfOrder: row.out_of_order,
  }));
}

/** How far the fleet's databases are, by the place of their last migration; those without any aside. */
export async function migrationHolders(db: Queryable): Promise<Holders[]> {
  const { rows } = await db.query<Holders>(
    `SELECT m.ordinal, count(*)::int AS databases, (array_agg(n.slug ORDER BY n.slug))[1:$1::int] AS tenants
       FROM databases d JOIN tenants n ON n.id = d.tenant_id JOIN migrations m ON m.name = d.schema_version
      WHERE d.state <> 'dropped' GROUP BY m.ordinal`,
    [TENANTS_NAMED],
  );
  return rows;
}

/** Appends migrations to the list, in one statement. */
export async function insertMigrations(tx: Queryable, migrations: Migration[]): Promise<void> {
  await tx.query(
    `INSERT INTO migrations (name, ordinal, checksum, up_sql, down_sql, phase, transactional,
                             lock_timeout_ms, statement_timeout_ms, statements, backfill, requires_app, out_of_order)
     SELECT m.name, m.ordinal, m.checksum, m."upSql", m."downSql", m.phase, m.transactional,
            m."lockTimeoutMs", m."statementTimeoutMs", m.statements, m.backfill,
            m."requiresApp", coalesce(m."outOfOrder", false)
       FROM jsonb_to_recordset($1::jsonb) AS m (name text, ordinal int, checksum text, "upSql" text,
            "downSql" text, phase text, transactional boolean, "lockTimeoutMs" int,
            "statementTimeoutMs" int, statements jsonb, backfill jsonb, "requiresApp" text,
            "outOfOrder" boolean)`,
    [JSON.stringify(migrations)],
  );
}

export async function insertRelease(
  tx: Queryable,
  release: Omit<ReleaseRecord, 'publishedAt'>,
): Promise<void> {
  await tx.query(
    `INSERT INTO releases (name, head, head_ordinal, checksum, published_by) VALUES ($1, $2, $3, $4, $5)`,
    [release.name, release.head, release.headOrdinal, release.checksum, release.publishedBy],
  );
}

/** Lets one publish at a time through, until the transaction ends. */
export async function lockPublishing(tx: Queryable): Promise<void> {
  await tx.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCKS.publish]);
}

const RELEASE_COLUMNS = `name, head, head_ordinal AS "headOrdinal", checksum, published_by AS "publishedBy",
                         published_at AS "publishedAt"`;

export async function findRelease(db: Queryable, name: string): Promise<ReleaseRecord | undefined> {
  const { rows } = await db.query<ReleaseRecord>(`SELECT ${RELEASE_COLUMNS} FROM releases WHERE name = $1`, [
    name,
  ]);
  return rows[0];
}

/** The release whose last migration is `headOrdinal`. There is at most one. */
export async function findReleaseAt(db: Queryable, headOrdinal: number): Promise<ReleaseRecord | undefined> {
  const { rows } = await db.query<ReleaseRecord>(
    `SELECT ${RELEASE_COLUMNS} FROM releases WHERE head_ordinal = $1`,
    [headOrdinal],
  );
  return rows[0];
}

/** Releases that end at `headOrdinal` or before it, the oldest first. */
export async function listReleasesUpTo(db: Queryable, headOrdinal: number): Promise<ReleaseRecord[]> {
  const { rows } = await db.query<ReleaseRecord>(
    `SELECT ${RELEASE_COLUMNS} FROM releases WHERE head_ordinal <= $1 ORDER BY head_ordinal`,
    [headOrdinal],
  );
  return rows;
}

/** `2026.11.3`: year and month (UTC) and the next number that no release of the month has, or had. */
export async function nextReleaseName(tx: Queryable): Promise<string> {
  const { rows } = await tx.query<{ name: string }>(
    `SELECT month || (1 + coalesce(max(substring(r.name from length(month) + 1)::int), 0)) AS name
       FROM to_char(now() AT TIME ZONE 'UTC', 'YYYY.MM.') AS month
       LEFT JOIN (SELECT name FROM releases UNION ALL SELECT name FROM withdrawn_releases) r
         ON starts_with(r.name, month) AND substring(r.name from length(month) + 1) ~ '^[0-9]{1,6}$'
      GROUP BY month`,
  );
  return rows[0]?.name ?? '';
}

export interface CurrentRelease {
  name: string;
  head: string;
  headOrdinal: number;
  /** Chain over all its migrations: equal checksums are equal schemas. */
  checksum: string;
}

/** The release that new tenants are born at; undefined before the first. */
export async function currentRelease(db: Queryable): Promise<CurrentRelease | undefined> {
  const { rows } = await db.query<CurrentRelease>(
    `SELECT r.name, r.head, r.head_ordinal AS "headOrdinal", r.checksum
       FROM settings s JOIN releases r ON r.name = s.value ->> 'name' WHERE s.key = 'current_release'`,
  );
  return rows[0];
}

/** New tenants are born at `name` from now on. */
export async function setCurrentRelease(tx: Queryable, name: string): Promise<void> {
  await tx.query(
    `INSERT INTO settings (key, value) VALUES ('current_release', jsonb_build_object('name', $1::text))
     ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now()`,
    [name],
  );
}

/** Keeps what the linter found in published migrations. */
export async function insertFindings(tx: Queryable, findings: Finding[]): Promise<void> {
  await tx.query(
    `INSERT INTO migration_findings (migration, findings)
     SELECT f ->> 'migration', jsonb_agg(f ORDER BY at) FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS e (f, at)
      GROUP BY 1`,
    [JSON.stringify(findings)],
  );
}

/** Findings of the migrations behind `afterOrdinal` up to `upToOrdinal` (inclusive), in their order. */
export async function listFindings(
  db: Queryable,
  afterOrdinal: number,
  upToOrdinal: number,
): Promise<Finding[]> {
  const { rows } = await db.query<{ findings: Finding[] }>(
    `SELECT f.findings FROM migration_findings f JOIN migrations m ON m.name = f.migration
      WHERE m.ordinal > $1 AND m.ordinal <= $2 ORDER BY m.ordinal`,
    [afterOrdinal, upToOrdinal],
  );
  return rows.flatMap(({ findings }) => findings);
}

/** Head of the release before the one that ends at `headOrdinal`; 0 for the first. */
export async function previousHead(db: Queryable, headOrdinal: number): Promise<number> {
  const { rows } = await db.query<{ ordinal: number }>(
    'SELECT coalesce(max(head_ordinal), 0) AS ordinal FROM releases WHERE head_ordinal < $1',
    [headOrdinal],
  );
  return rows[0]?.ordinal ?? 0;
}

/**
 * Major versions of the fleet's servers. Undefined where there is none, or one has not been asked for its
 * version: then a migration has to fit all that are supported.
 */
export async function serverVersions(db: Queryable): Promise<ServerRange | undefined> {
  const { rows } = await db.query<{ min: number | null; max: number | null; unknown: boolean }>(
    `SELECT min(server_version) / 10000 AS min, max(server_version) / 10000 AS max,
            bool_or(server_version IS NULL) IS TRUE AS unknown
       FROM servers WHERE state <> 'retired'`,
  );
  const [known] = rows;
  if (known === undefined || known.unknown || known.min === null || known.max === null) return undefined;
  return { min: known.min, max: known.max };
}

/** New tenants are born without any migration from now on. */
export async function clearCurrentRelease(tx: Queryable): Promise<void> {
  await tx.query(`DELETE FROM settings WHERE key = 'current_release'`);
}

/** Whether any tenant has a database, or a reservation for one. */
export async function fleetHasDatabases(db: Queryable): Promise<boolean> {
  const { rows } = await db.query(`SELECT 1 FROM databases WHERE state <> 'dropped' LIMIT 1`);
  return rows.length > 0;
}

export interface StandingFilter {
  name?: string;
  /** Only releases whose head is before this ordinal: the cursor. */
  beforeOrdinal?: number | undefined;
  limit: number;
  /** Regions whose databases are counted; null = all. */
  regions: string[] | null;
}

/** Releases, newest first, with the count of databases at or past each and behind each. */
export async function listReleases(db: Queryable, filter: StandingFilter): Promise<ReleaseStanding[]> {
  const { rows } = await db.query<ReleaseStanding>(
    `WITH at AS (
       SELECT coalesce(m.ordinal, 0) AS ordinal, count(*) AS databases
         FROM databases d JOIN servers s ON s.id = d.server_id LEFT JOIN migrations m ON m.name = d.schema_version
        WHERE d.state = 'ready' AND ($4::text[] IS NULL OR s.region = ANY ($4))
        GROUP BY 1)
     SELECT ${RELEASE_COLUMNS},
            name = (SELECT value ->> 'name' FROM settings WHERE key = 'current_release') IS TRUE AS current,
            coalesce((SELECT sum(databases) FROM at WHERE ordinal >= head_ordinal), 0)::int AS applied,
            coalesce((SELECT sum(databases) FROM at WHERE ordinal < head_ordinal), 0)::int AS behind
       FROM releases
      WHERE ($1::text IS NULL OR name = $1) AND ($2::int IS NULL OR head_ordinal < $2)
      ORDER BY head_ordinal DESC LIMIT $3`,
    [filter.name ?? null, filter.beforeOrdinal ?? null, filter.limit, filter.regions],
  );
  return rows;
}
