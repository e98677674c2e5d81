import type { RolloutState, RolloutTarget, TargetState } from '../../../contract/rollout.ts';
import type { StoredError } from '../../../contract/problem.ts';
import type { Queryable } from '../../../platform/pg.ts';
import type { Counts } from '../target-store.ts';
import { ROLLOUT_COLUMNS, type RolloutRecord } from '../store.ts';

/** What the API reads of rollouts: pages with names in place of ids. Joins tenants, servers and waves for them. */
export type RolloutRow = RolloutRecord & { counts: Partial<Counts> };

export interface RolloutPage {
  state?: RolloutState | undefined;
  release?: string | undefined;
  /** Regions whose targets are counted; null means all. */
  regions: string[] | null;
  /** Position of the page before: only what is older follows. */
  after?: { createdAt: string; id: string } | undefined;
  limit: number;
}

/** Newest first. */
export async function listRollouts(db: Queryable, page: RolloutPage): Promise<RolloutRow[]> {
  const { rows } = await db.query<RolloutRow>(
    `SELECT ${ROLLOUT_COLUMNS},
            (SELECT coalesce(jsonb_object_agg(c.state, c.count), '{}')
               FROM (SELECT t.state, count(*) AS count FROM rollout_targets t
                      WHERE t.rollout_id = r.id AND ${inRegions('$6')} GROUP BY t.state) AS c) AS counts
       FROM rollouts r
      WHERE ($1::text IS NULL OR r.state = $1) AND ($2::text IS NULL OR r.release = $2)
        AND ($3::timestamptz IS NULL OR (date_trunc('milliseconds', r.created_at), r.id) < ($3, $4::uuid))
      ORDER BY date_trunc('milliseconds', r.created_at) DESC, r.id DESC
      LIMIT $5`,
    [
      page.state ?? null,
      page.release ?? null,
      page.after?.createdAt ?? null,
      page.after?.id ?? null,
      page.limit,
      page.regions,
    ],
  );
  return rows;
}

/** Whether the target `t` is in one of the regions; null means all. The tenants are only read for some. */
function inRegions(parameter: string): string {
  return `(${parameter}::text[] IS NULL OR t.tenant_id IN (SELECT id FROM tenants WHERE region = ANY(${parameter})))`;
}

/** Targets by wave and state, for the waves' bars. */
export async function countsByWave(
  db: Queryable,
  rolloutId: string,
  regions: string[] | null,
): Promise<Map<number, Partial<Counts>>> {
  const { rows } = await db.query<{ wave: number; counts: Partial<Counts> }>(
    `SELECT wave, jsonb_object_agg(state, count) AS counts
       FROM (SELECT wave, state, count(*) AS count FROM rollout_targets t
              WHERE rollout_id = $1 AND ${inRegions('$2')} GROUP BY wave, state) AS c
      GROUP BY wave`,
    [rolloutId, regions],
  );
  return new Map(rows.map((row) => [row.wave, row.counts]));
}

export interface TargetRow extends Omit<RolloutTarget, 'notBefore' | 'startedAt' | 'finishedAt'> {
  error: StoredError | null;
  notBefore: Date | null;
  startedAt: Date | null;
  finishedAt: Date | null;
  waveOrdinal: number;
  ordinal: number;
}

export interface TargetPage {
  /** Regions that the reader may see; null means all. */
  regions: string[] | null;
  /** Absent: all. */
  state?: TargetState | undefined;
  after?: { wave: number; ordinal: number } | undefined;
  /** Null: all. */
  limit: number | null;
}

const TARGET_SQL = `
  SELECT n.slug AS tenant, n.region, s.name AS server, w.name AS wave, t.state, t.missing, t.error, t.reason,
         t.skipped_by AS "skippedBy",
         -- A target that waits for its server runs when that is tried next.
         coalesce(t.not_before, CASE WHEN t.state IN ('pending', 'unreachable') THEN o.next_try_at END) AS "notBefore",
         t.tries, t.progress, t.duration_ms AS "durationMs", t.lock_wait_ms AS "lockWaitMs",
         t.rows_affected::int AS rows, coalesce(t.applied, '[]') AS applied,
         t.started_at AS "startedAt", t.finished_at AS "finishedAt",
         t.wave AS "waveOrdinal", t.ordinal
    FROM rollout_targets t
    JOIN tenants n ON n.id = t.tenant_id
    JOIN servers s ON s.id = t.server_id
    JOIN rollout_waves w ON w.rollout_id = t.rollout_id AND w.ordinal = t.wave
    LEFT JOIN rollout_outages o ON o.rollout_id = t.rollout_id AND o.server_id = t.server_id
   WHERE t.rollout_id = $1 AND ($2::text[] IS NULL OR n.region = ANY($2))`;

/** In the order of the plan. */
export async function listTargets(db: Queryable, rolloutId: string, page: TargetPage): Promise<TargetRow[]> {
  const { rows } = await db.query<TargetRow>(
    `${TARGET_SQL} AND ($3::int IS NULL OR (t.wave, t.ordinal) > ($3, $4::int)) AND ($6::text IS NULL OR t.state = $6)
      ORDER BY t.wave, t.ordinal
      LIMIT $5`,
    [
      rolloutId,
      page.regions,
      page.after?.wave ?? null,
      page.after?.ordinal ?? null,
      page.limit,
      page.state ?? null,
    ],
  );
  return rows;
}

/** One tenant's, by its slug or id. */
export async function findTarget(
  db: Queryable,
  rolloutId: string,
  which: { tenant: string; regions: string[] | null },
): Promise<TargetRow | undefined> {
  const { rows } = await db.query<TargetRow>(`${TARGET_SQL} AND (n.slug = $3 OR n.id::text = $3)`, [
    rolloutId,
    which.regions,
    which.tenant,
  ]);
  return rows[0];
}
