import type { Queryable } from '../../platform/pg.ts';
import type { RegionRecord } from './region.ts';

const COLUMNS = `r.name, r.jurisdiction, r.domain, r.app_url AS "appUrl", r.created_at AS "createdAt"`;

/** A region with how many live servers and tenants stand in it. */
export interface RegionUsage extends RegionRecord {
  servers: number;
  tenants: number;
}

// Counting tenants reads another slice's table; the number is for people only, nothing is decided by it.
const USAGE = `(SELECT count(*)::int FROM servers s WHERE s.region = r.name AND s.state <> 'retired') AS servers,
  (SELECT count(*)::int FROM tenants t WHERE t.region = r.name AND t.state <> 'deleted') AS tenants`;

/** The region of that name, if there is one. */
export async function findRegion(db: Queryable, name: string): Promise<RegionRecord | undefined> {
  const { rows } = await db.query<RegionRecord>(`SELECT ${COLUMNS} FROM regions r WHERE r.name = $1`, [name]);
  return rows[0];
}

/** The same, with how much stands in it. */
export async function findRegionUsage(db: Queryable, name: string): Promise<RegionUsage | undefined> {
  const { rows } = await db.query<RegionUsage>(
    `SELECT ${COLUMNS}, ${USAGE} FROM regions r WHERE r.name = $1`,
    [name],
  );
  return rows[0];
}

export interface RegionPage {
  /** null = all. */
  regions: string[] | null;
  after?: string | undefined;
  limit: number;
}

/** By name. */
export async function listRegions(db: Queryable, page: RegionPage): Promise<RegionUsage[]> {
  const { rows } = await db.query<RegionUsage>(
    `SELECT ${COLUMNS}, ${USAGE} FROM regions r
      WHERE ($1::text[] IS NULL OR r.name = ANY ($1)) AND ($2::text IS NULL OR r.name > $2)
      ORDER BY r.name LIMIT $3`,
    [page.regions, page.after ?? null, page.limit],
  );
  return rows;
}

/** A taken name or domain raises SQLSTATE 23505. */
export async function insertRegion(tx: Queryable, region: Omit<RegionRecord, 'createdAt'>): Promise<void> {
  await tx.query('INSERT INTO regions (name, jurisdiction, domain, app_url) VALUES ($1, $2, $3, $4)', [
    region.name,
    region.jurisdiction,
    region.domain,
    region.appUrl,
  ]);
}

/** The tenant app tells its address at start; the same one changes nothing. */
export async function setRegionAppUrl(tx: Queryable, name: string, appUrl: string): Promise<void> {
  await tx.query('UPDATE regions SET app_url = $2 WHERE name = $1 AND app_url IS DISTINCT FROM $2', [
    name,
    appUrl,
  ]);
}
