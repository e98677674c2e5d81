import type { Queryable } from '../../../platform/pg.ts';
import type { Tally } from './budget.ts';
import type { LeftBehind } from '../plan/plan.ts';
import { targetAfter, targetSources } from '../rollout.ts';

/** SQL of `rollout_targets` that wait or are counted: for budgets, windows, outages, and those left behind. */

/** Lets targets run whose window has opened. Answers how many. */
export async function releaseDue(db: Queryable, rolloutId: string): Promise<number> {
  const { rowCount } = await db.query(
    `UPDATE rollout_targets SET state = $2, reason = NULL, not_before = NULL
      WHERE rollout_id = $1 AND state = ANY($3) AND not_before <= now()`,
    [rolloutId, targetAfter('due'), targetSources('due')],
  );
  return rowCount ?? 0;
}

export interface ClosedTarget {
  databaseId: string;
  reason: string;
  notBefore: Date;
}

/** Has targets wait that are outside their windows. */
export async function deferClosed(
  db: Queryable,
  rolloutId: string,
  closed: readonly ClosedTarget[],
): Promise<void> {
  if (closed.length === 0) return;
  await db.query(
    `UPDATE rollout_targets t SET state = $3, reason = c.reason, not_before = c."notBefore"
       FROM jsonb_to_recordset($2::jsonb) AS c("databaseId" uuid, reason text, "notBefore" timestamptz)
      WHERE t.rollout_id = $1 AND t.database_id = c."databaseId" AND t.state = ANY($4)`,
    [rolloutId, JSON.stringify(closed), targetAfter('defer'), targetSources('defer')],
  );
}

export interface WaveTally extends Tally {
  wave: number;
  /** Pending or with an unknown outcome. */
  waiting: number;
  running: number;
  unreachable: number;
  /** Waits for its window. */
  closed: number;
  /** When the first of those opens. */
  nextAt: Date | null;
  allFailed: number;
}

/**
 * How each wave stands against its budget. Failures before its `forgiven_at` count no more. The last success is found
 * once, whatever the planner expects: statistics know nothing of a rollout that has just been planned, and for one row
 * it would look again for each of thousands.
 */
export async function tallyWaves(db: Queryable, rolloutId: string): Promise<WaveTally[]> {
  const { rows } = await db.query<WaveTally>(
    `WITH good AS MATERIALIZED (SELECT v.wave, max(v.finished_at) AS at FROM rollout_targets v
                                 WHERE v.rollout_id = $1 AND v.state = 'verified' GROUP BY v.wave)
     SELECT w.ordinal AS wave, ${TALLY}
       FROM rollout_waves w
       LEFT JOIN rollout_targets t ON t.rollout_id = w.rollout_id AND t.wave = w.ordinal
       LEFT JOIN good ON good.wave = w.ordinal
      WHERE w.rollout_id = $1
      GROUP BY w.ordinal ORDER BY w.ordinal`,
    [rolloutId],
  );
  return rows;
}

/** The same over all waves together. */
export async function tallyRollout(db: Queryable, rolloutId: string): Promise<Tally> {
  const { rows } = await db.query<WaveTally>(
    `WITH good AS MATERIALIZED (SELECT max(v.finished_at) AS at FROM rollout_targets v
                                 WHERE v.rollout_id = $1 AND v.state = 'verified')
     SELECT 0 AS wave, ${TALLY}
       FROM rollouts w
       LEFT JOIN rollout_targets t ON t.rollout_id = w.id
       LEFT JOIN good ON true
      WHERE w.id = $1
      GROUP BY w.id`,
    [rolloutId],
  );
  const [row] = rows;
  if (row === undefined) throw new Error(`rollout ${rolloutId} has vanished`);
  return row;
}

/** Of targets `t` of a budget's owner `w`, the last success among them at `good.at`. */
const FAILED_NOW = `t.state = 'failed' AND (w.forgiven_at IS NULL OR t.finished_at > w.forgiven_at)`;
const TALLY = `
  (count(t.*) FILTER (WHERE t.state NOT IN ('deferred', 'skipped') OR t.not_before IS NOT NULL))::int AS base,
  (count(*) FILTER (WHERE ${FAILED_NOW}))::int AS failed,
  (count(*) FILTER (WHERE t.state = 'failed'))::int AS "allFailed",
  (count(*) FILTER (WHERE t.state IN ('verified', 'failed')))::int AS ended,
  (count(*) FILTER (WHERE ${FAILED_NOW} AND (good.at IS NULL OR t.finished_at > good.at)))::int AS "inARow",
  (count(*) FILTER (WHERE t.state IN ('pending', 'unknown')))::int AS waiting,
  (count(*) FILTER (WHERE t.state = 'running'))::int AS running,
  (count(*) FILTER (WHERE t.state = 'unreachable'
     AND (w.forgiven_at IS NULL OR t.finished_at > w.forgiven_at)))::int AS unreachable,
  (count(*) FILTER (WHERE t.state = 'deferred' AND t.not_before IS NOT NULL))::int AS closed,
  min(t.not_before) FILTER (WHERE t.state = 'deferred') AS "nextAt"`;

/** Leaves a tenant's target behind by a person's word. Answers false when it is in no state for that. */
export async function leaveTarget(
  db: Queryable,
  rolloutId: string,
  tenant: string,
  left: LeftBehind,
): Promise<'left' | 'already' | 'no'> {
  const { rows } = await db.query<{ state: string; moved: boolean }>(
    `WITH found AS (
       SELECT t.database_id, t.state, t.skipped_by FROM rollout_targets t JOIN tenants n ON n.id = t.tenant_id
        WHERE t.rollout_id = $1 AND (n.slug = $2 OR n.id::text = $2)
     ), moved AS (
       UPDATE rollout_targets t
          SET state = $3, reason = $4, skipped_by = $5, not_before = NULL, finished_at = now()
         FROM found f
        WHERE t.rollout_id = $1 AND t.database_id = f.database_id AND t.state = ANY($6)
        RETURNING 1
     )
     SELECT f.state, EXISTS (SELECT 1 FROM moved) AS moved FROM found f WHERE f.state <> $3 OR f.skipped_by IS NOT NULL`,
    [rolloutId, tenant, targetAfter('leave'), left.reason, left.by, targetSources('leave')],
  );
  const [row] = rows;
  if (row === undefined) return 'no';
  if (row.moved) return 'left';
  return row.state === targetAfter('leave') ? 'already' : 'no';
}

/** Databases that a person has left behind, and that have not come to that rollout's release since. */
export async function leftBehind(db: Queryable): Promise<Map<string, LeftBehind>> {
  const { rows } = await db.query<LeftBehind & { databaseId: string }>(
    `SELECT t.database_id AS "databaseId", t.skipped_by AS by, t.reason
       FROM rollout_targets t
       JOIN rollouts r ON r.id = t.rollout_id
       JOIN (SELECT name, head_ordinal FROM releases
             UNION ALL SELECT name, head_ordinal FROM withdrawn_releases) l ON l.name = r.release
       JOIN databases d ON d.id = t.database_id
       LEFT JOIN migrations m ON m.name = d.schema_version
      WHERE t.skipped_by IS NOT NULL AND coalesce(m.ordinal, 0) < l.head_ordinal
      ORDER BY r.created_at`,
  );
  return new Map(rows.map(({ databaseId, ...left }) => [databaseId, left]));
}

/** Targets of other rollouts that are in flight, or of which nobody knows the outcome; with the first rollout's id. */
export async function unsettledElsewhere(
  db: Queryable,
  rolloutId: string,
): Promise<{ rolloutId: string; count: number } | undefined> {
  const { rows } = await db.query<{ rolloutId: string; count: number }>(
    `SELECT t.rollout_id AS "rolloutId", count(*)::int AS count FROM rollout_targets t
      WHERE t.state IN ('running', 'unknown') AND t.rollout_id <> $1 GROUP BY t.rollout_id LIMIT 1`,
    [rolloutId],
  );
  return rows[0];
}

/** Servers that hold targets which are still to run, and did not answer the last health check. */
export async function unreachableServers(
  db: Queryable,
  rolloutId: string,
): Promise<{ name: string; region: string }[]> {
  const { rows } = await db.query<{ name: string; region: string }>(
    `SELECT DISTINCT s.name, s.region FROM rollout_targets t JOIN servers s ON s.id = t.server_id
      WHERE t.rollout_id = $1 AND NOT s.reachable AND t.state IN ('pending', 'deferred') ORDER BY s.name`,
    [rolloutId],
  );
  return rows;
}
