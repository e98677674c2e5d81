import type { AppReport, DatabaseTraffic } from '../../contract/app.ts';
import type { Queryable } from '../../platform/pg.ts';
import { SILENT_MINUTES_MAX, type AppInstance } from './app.ts';
import type { TenantSchema } from './contract.ts';

/**
 * Takes note of an instance by a report of it. Answers false for a report that was here before, or is older than one
 * that was: the row's lock has the reports of one instance wait for each other.
 */
export async function noteInstance(tx: Queryable, region: string, report: AppReport): Promise<boolean> {
  const { rows } = await tx.query(
    `INSERT INTO app_instances AS i (id, region, version, schema_min, schema_max, sequence, stopped_at, acknowledged)
     VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $7 THEN now() END, $8)
     ON CONFLICT (id) DO UPDATE
       SET version = excluded.version, schema_min = excluded.schema_min, schema_max = excluded.schema_max,
           acknowledged = excluded.acknowledged, sequence = excluded.sequence, last_seen = now(),
           stopped_at = excluded.stopped_at, silent_minutes = 0
     WHERE i.region = excluded.region AND i.sequence < excluded.sequence
     RETURNING id`,
    [
      report.instance,
      region,
      report.appVersion,
      report.acceptsSchema.min,
      report.acceptsSchema.max,
      report.sequence,
      report.stopping,
      report.acknowledged,
    ],
  );
  return rows.length > 0;
}

/** The region that the instance has reported from, if it has. */
export async function regionOfInstance(db: Queryable, id: string): Promise<string | undefined> {
  const { rows } = await db.query<{ region: string }>('SELECT region FROM app_instances WHERE id = $1', [id]);
  return rows[0]?.region;
}

/**
 * Adds traffic to the window that begins at `window.from`. Answers the databases that were counted: those that stand
 * in the region. In the order of their ids, so that the reports of two instances cannot lock each other out.
 */
export async function addTraffic(
  tx: Queryable,
  region: string,
  window: AppReport['window'],
  traffic: readonly DatabaseTraffic[],
): Promise<Set<string>> {
  const { rows } = await tx.query<{ id: string }>(
    `INSERT INTO app_traffic AS t (database_id, starts_at, ends_at, errors, latency)
     SELECT d.id, $3, $4, r.errors, ARRAY(SELECT jsonb_array_elements_text(r.latency)::int)
       FROM jsonb_to_recordset($1::jsonb) AS r (database uuid, errors int, latency jsonb)
       JOIN databases d ON d.id = r.database AND d.state <> 'dropped'
       JOIN servers s ON s.id = d.server_id AND s.region = $2
       JOIN tenants n ON n.id = d.tenant_id AND n.region = $2
      ORDER BY d.id
     ON CONFLICT (database_id, starts_at) DO UPDATE
       SET ends_at = greatest(t.ends_at, excluded.ends_at), reported_at = now(),
           errors = least(${INT_MAX}, t.errors::bigint + excluded.errors),
           latency = ARRAY(SELECT least(${INT_MAX}, a::bigint + b)::int
                             FROM unnest(t.latency, excluded.latency) WITH ORDINALITY AS u (a, b, at) ORDER BY at)
     RETURNING database_id AS id`,
    [JSON.stringify(traffic), region, window.from, window.to],
  );
  return new Set(rows.map(({ id }) => id));
}

/** What PostgreSQL's integer holds. An app that reports nonsense makes a full counter, not a failing report. */
const INT_MAX = 2_147_483_647;

/** Sums over databases and minutes; requests by bucket of contract/latency.ts. */
export async function sumTraffic(
  db: Queryable,
  databaseIds: readonly string[],
  from: Date,
  to: Date,
): Promise<{ errors: number; latency: number[] }> {
  const { rows } = await db.query<{ errors: number; latency: number[] }>(
    `WITH counted AS (
       SELECT errors, latency FROM app_traffic
        WHERE database_id = ANY ($1::uuid[]) AND starts_at >= $2 AND starts_at < $3
          AND (ends_at <= $3 OR reported_at <= $3))
     SELECT (SELECT coalesce(sum(errors), 0)::float8 FROM counted) AS errors,
            ARRAY(SELECT sum(count)::float8 FROM counted, unnest(latency) WITH ORDINALITY AS u (count, at)
                   GROUP BY at ORDER BY at) AS latency`,
    [databaseIds, from, to],
  );
  return rows[0] ?? { errors: 0, latency: [] };
}

/** Instances that may still serve, by region and version. */
export async function liveInstances(db: Queryable): Promise<AppInstance[]> {
  const { rows } = await db.query<AppInstance>(
    `SELECT id, region, version, jsonb_build_object('min', schema_min, 'max', schema_max) AS "acceptsSchema",
            last_seen AS "lastSeen"
       FROM app_instances WHERE stopped_at IS NULL AND silent_minutes < $1 ORDER BY region, version, id`,
    [SILENT_MINUTES_MAX],
  );
  return rows;
}

/** Tenants that have a database whose schema is before a migration's, by name. */
export async function tenantsBefore(db: Queryable, ordinal: number): Promise<TenantSchema[]> {
  const { rows } = await db.query<TenantSchema>(
    `SELECT n.slug AS tenant, n.region, n.state, d.schema_version AS "schemaVersion", coalesce(m.ordinal, 0) AS ordinal
       FROM tenants n
       JOIN databases d ON d.tenant_id = n.id AND d.state = 'ready'
       LEFT JOIN migrations m ON m.name = d.schema_version
      WHERE n.state IN ('active', 'suspended', 'moving') AND coalesce(m.ordinal, 0) < $1
      ORDER BY n.slug`,
    [ordinal],
  );
  return rows;
}

/** Counts a minute of silence for those who have said nothing in it. Twice in one minute counts once. */
export async function countSilence(db: Queryable): Promise<void> {
  await db.query(
    `UPDATE app_instances SET silent_minutes = silent_minutes + 1, counted_at = now()
      WHERE stopped_at IS NULL AND silent_minutes < $1
        AND greatest(last_seen, counted_at) < now() - interval '50 seconds'`,
    [SILENT_MINUTES_MAX],
  );
}

/** Deletes minutes, and instances that have ended, of more than a day ago. */
export async function forgetOldReports(db: Queryable): Promise<void> {
  await db.query("DELETE FROM app_traffic WHERE starts_at < now() - interval '24 hours'");
  await db.query(
    `DELETE FROM app_instances
      WHERE (stopped_at IS NOT NULL OR silent_minutes >= $1) AND last_seen < now() - interval '24 hours'`,
    [SILENT_MINUTES_MAX],
  );
}
