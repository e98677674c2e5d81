import type { BackfillProgress } from '../../../contract/backfill.ts';
import type { StoredError } from '../../../contract/problem.ts';
import type { BackfillSum, Deferral, FailureGroup, Skips } from '../../../contract/progress.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { writeInFlight, type Fence } from '../engine/in-flight-store.ts';

/**
 * What watchers read, counted and grouped by the database: as cheap for ten thousand targets as for ten. Joins
 * tenants, servers and waves for names. `regions` are those that the reader may see; null means all.
 */

export interface InFlightRow {
  tenant: string;
  region: string;
  server: string;
  wave: string;
  waveOrdinal: number;
  state: 'running' | 'unknown';
  migration: string | null;
  migrationSince: Date | null;
  startedAt: Date | null;
  tries: number;
  backfill: BackfillProgress | null;
  elapsedMs: number;
}

/**
 * Targets in flight, those first that run longest. What they are at is what their worker has told, else the first
 * that they missed: with that a target begins.
 */
export async function inFlightTargets(db: Queryable, rolloutId: string): Promise<InFlightRow[]> {
  const { rows } = await db.query<InFlightRow>(
    `SELECT n.slug AS tenant, n.region, s.name AS server, w.name AS wave, t.wave AS "waveOrdinal", t.state,
            coalesce(told.step ->> 'migration', t.missing ->> 0) AS migration,
            coalesce((told.step ->> 'since')::timestamptz, t.started_at) AS "migrationSince",
            t.started_at AS "startedAt", t.tries,
            CASE WHEN (t.progress ->> 'at')::timestamptz >= t.started_at THEN t.progress END AS backfill,
            greatest(0, extract(epoch FROM clock_timestamp() - t.started_at) * 1000)::float8 AS "elapsedMs"
       FROM rollout_targets t
       JOIN tenants n ON n.id = t.tenant_id
       JOIN servers s ON s.id = t.server_id
       JOIN rollout_waves w ON w.rollout_id = t.rollout_id AND w.ordinal = t.wave
       LEFT JOIN LATERAL (SELECT t.step WHERE (t.step ->> 'since')::timestamptz >= t.started_at) AS told ON true
      WHERE t.rollout_id = $1 AND t.state IN ('running', 'unknown')
      ORDER BY t.started_at, t.ordinal`,
    [rolloutId],
  );
  return rows;
}

/** A name, a number or an id in a message is what differs from target to target. */
const SHAPE = `regexp_replace(replace(coalesce(t.error ->> 'message', ''), n.slug, '*'), '[0-9a-f]{8,}|\\d+', '#', 'g')`;

/** Failed targets by code and shape of the message; most frequent first. */
export async function failureGroups(
  db: Queryable,
  rolloutId: string,
  { regions, limit }: { regions: string[] | null; limit: number },
): Promise<FailureGroup[]> {
  const { rows } = await db.query<FailureGroup>(
    `SELECT f.code, count(*)::int AS count,
            (array_agg(f.error ORDER BY f.finished_at, f.ordinal))[1] AS error,
            (array_agg(f.example ORDER BY f.finished_at, f.ordinal))[1] AS example
       FROM (SELECT coalesce(t.error ->> 'code', t.state) AS code, ${SHAPE} AS shape, t.finished_at, t.ordinal,
                    coalesce(t.error, jsonb_build_object('code', t.state, 'message', coalesce(t.reason, t.state)))
                      AS error,
                    json_build_object('tenant', n.slug, 'region', n.region, 'server', s.name) AS example
               FROM rollout_targets t
               JOIN tenants n ON n.id = t.tenant_id
               JOIN servers s ON s.id = t.server_id
              WHERE t.rollout_id = $1 AND t.state = 'failed' AND ($2::text[] IS NULL OR n.region = ANY ($2))) AS f
      GROUP BY f.code, f.shape
      ORDER BY count DESC, min(f.ordinal)
      LIMIT $3`,
    [rolloutId, regions, limit],
  );
  return rows;
}

export interface OutageRow {
  server: string;
  region: string;
  since: Date | null;
  tries: number | null;
  nextTryAt: Date | null;
  targets: number;
  error: StoredError | null;
}

/** Servers that are tried again, and those that targets were given up on. */
export async function outagesOf(
  db: Queryable,
  rolloutId: string,
  regions: string[] | null,
): Promise<OutageRow[]> {
  const { rows } = await db.query<OutageRow>(
    `SELECT s.name AS server, s.region, o.since, o.tries, o.next_try_at AS "nextTryAt",
            (count(t.*) FILTER (WHERE t.state = 'unreachable' OR o.since IS NOT NULL))::int AS targets,
            (array_agg(t.error ORDER BY t.ordinal) FILTER (WHERE t.error IS NOT NULL))[1] AS error
       FROM servers s
       LEFT JOIN rollout_outages o ON o.server_id = s.id AND o.rollout_id = $1
       LEFT JOIN rollout_targets t ON t.server_id = s.id AND t.rollout_id = $1
                                  AND t.state IN ('pending', 'unreachable')
      WHERE ($2::text[] IS NULL OR s.region = ANY ($2))
        AND (o.since IS NOT NULL OR s.id IN (SELECT server_id FROM rollout_targets
                                               WHERE rollout_id = $1 AND state = 'unreachable'))
      GROUP BY s.id, o.since, o.tries, o.next_try_at
      ORDER BY s.name`,
    [rolloutId, regions],
  );
  return rows;
}

/** Targets that wait, by the reason. */
export async function deferrals(
  db: Queryable,
  rolloutId: string,
  regions: string[] | null,
): Promise<(Omit<Deferral, 'nextAt'> & { nextAt: Date | null })[]> {
  const { rows } = await db.query<Omit<Deferral, 'nextAt'> & { nextAt: Date | null }>(
    `SELECT coalesce(t.reason, 'deferred') AS reason, count(*)::int AS count, min(t.not_before) AS "nextAt",
            (array_agg(json_build_object('tenant', n.slug, 'region', n.region, 'server', s.name)
                       ORDER BY t.not_before, t.ordinal))[1] AS example
       FROM rollout_targets t
       JOIN tenants n ON n.id = t.tenant_id
       JOIN servers s ON s.id = t.server_id
      WHERE t.rollout_id = $1 AND t.state = 'deferred' AND ($2::text[] IS NULL OR n.region = ANY ($2))
      GROUP BY coalesce(t.reason, 'deferred') ORDER BY count DESC`,
    [rolloutId, regions],
  );
  return rows;
}

/** Targets that are left as they are, by who did so and why. */
export async function skipsOf(
  db: Queryable,
  rolloutId: string,
  { regions, limit }: { regions: string[] | null; limit: number },
): Promise<Skips[]> {
  const { rows } = await db.query<Skips>(
    `SELECT coalesce(t.reason, 'skipped') AS reason, t.skipped_by AS by,
            t.skipped_by IS NULL AND coalesce(t.reason = 'aborted', false) AS "notReached", count(*)::int AS count,
            (array_agg(json_build_object('tenant', n.slug, 'region', n.region, 'server', s.name)
                       ORDER BY t.wave, t.ordinal))[1] AS example
       FROM rollout_targets t
       JOIN tenants n ON n.id = t.tenant_id
       JOIN servers s ON s.id = t.server_id
      WHERE t.rollout_id = $1 AND t.state = 'skipped' AND ($2::text[] IS NULL OR n.region = ANY ($2))
      GROUP BY t.reason, t.skipped_by ORDER BY count DESC, min(t.ordinal) LIMIT $3`,
    [rolloutId, regions, limit],
  );
  return rows;
}

/** Backfills that are under way or left half way, each over all its databases. */
export async function backfillSums(
  db: Queryable,
  rolloutId: string,
  regions: string[] | null,
): Promise<BackfillSum[]> {
  const { rows } = await db.query<BackfillSum>(
    `SELECT t.progress ->> 'migration' AS migration,
            (count(*) FILTER (WHERE t.state = 'running'))::int AS running,
            (count(*) FILTER (WHERE t.state = 'running' AND t.progress ->> 'reason' IS NOT NULL))::int AS held,
            (count(*) FILTER (WHERE t.state <> 'running'))::int AS waiting,
            sum((t.progress ->> 'rowsDone')::bigint)::float8 AS "rowsDone",
            sum((t.progress ->> 'rowsEstimated')::bigint)::float8 AS "rowsEstimated",
            sum((t.progress ->> 'heldMs')::bigint)::float8 AS "heldMs",
            max((t.progress ->> 'etaSeconds')::int) AS "etaSeconds",
            min(t.progress ->> 'reason') FILTER (WHERE t.state = 'running') AS reason
       FROM rollout_targets t
       JOIN tenants n ON n.id = t.tenant_id
      WHERE t.rollout_id = $1 AND t.progress IS NOT NULL AND t.state NOT IN ('verified', 'undone', 'skipped')
        AND ($2::text[] IS NULL OR n.region = ANY ($2))
      GROUP BY 1 ORDER BY 1`,
    [rolloutId, regions],
  );
  return rows;
}

/** What of a wave is left to do on one server. */
export interface LeftRow {
  wave: number;
  server: string;
  waiting: number;
  /** When the last window opens that a target waits for. */
  closedUntil: Date | null;
}

export async function leftByServer(db: Queryable, rolloutId: string): Promise<LeftRow[]> {
  const { rows } = await db.query<LeftRow>(
    `SELECT t.wave, s.name AS server, (count(*) FILTER (WHERE t.state = 'pending'))::int AS waiting,
            max(t.not_before) FILTER (WHERE t.state = 'deferred') AS "closedUntil"
       FROM rollout_targets t JOIN servers s ON s.id = t.server_id
      WHERE t.rollout_id = $1 AND t.state IN ('pending', 'deferred')
      GROUP BY t.wave, s.name`,
    [rolloutId],
  );
  return rows;
}

/** How long, in milliseconds, the targets took that ended last. */
export async function recentDurations(db: Queryable, rolloutId: string, limit: number): Promise<number[]> {
  const { rows } = await db.query<{ durationMs: number }>(
    `SELECT duration_ms AS "durationMs" FROM rollout_targets
      WHERE rollout_id = $1 AND state IN ('verified', 'failed') AND duration_ms IS NOT NULL AND tries > 0
      ORDER BY finished_at DESC NULLS LAST LIMIT $2`,
    [rolloutId, limit],
  );
  return rows.map((row) => row.durationMs);
}

/** Tenants and servers that events speak of, by what they are called there: a slug, a name or an id. */
export async function findSpokenOf(
  db: Queryable,
  called: readonly string[],
): Promise<Map<string, { name: string; region: string }>> {
  if (called.length === 0) return new Map();
  const { rows } = await db.query<{ called: string; name: string; region: string }>(
    `SELECT c.called, n.slug AS name, n.region
       FROM unnest($1::text[]) AS c (called) JOIN tenants n ON n.slug = c.called OR n.id::text = c.called
     UNION ALL
     SELECT c.called, s.name, s.region
       FROM unnest($1::text[]) AS c (called) JOIN servers s ON s.name = c.called OR s.id::text = c.called`,
    [called],
  );
  return new Map(rows.map((row) => [row.called, row]));
}

/** Writes, behind the fence, what a target in flight has been at for `elapsedMs`, and tells watchers. */
export async function writeStep(
  db: Queryable,
  target: { rolloutId: string; databaseId: string },
  lease: Fence,
  step: { migration: string; elapsedMs: number },
): Promise<void> {
  await writeInFlight(db, target, lease, {
    set: `step = jsonb_build_object('migration', $6::text, 'since',
                   greatest(t.started_at, clock_timestamp() - $7 * interval '1 millisecond'))`,
    values: [step.migration, step.elapsedMs],
  });
}
