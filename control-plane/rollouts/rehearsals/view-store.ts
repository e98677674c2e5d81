import type { StoredError } from '../../../contract/problem.ts';
import type { RehearsalCounts, RehearsalTarget } from '../../../contract/rehearsal.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { REHEARSAL_COLUMNS, type RehearsalRecord } from './store.ts';

/** What the API reads of rehearsals. Joins tenants, servers and waves for their names. */
export type RehearsalRow = RehearsalRecord & {
  counts: Partial<RehearsalCounts>;
  partly: number;
  untried: string[];
};

export interface RehearsalPage {
  rolloutId: string;
  /** Regions whose targets are counted; null means all. */
  regions: string[] | null;
  after?: { createdAt: string; id: string } | undefined;
  limit: number;
}

/** Newest first. */
export async function listRehearsals(db: Queryable, page: RehearsalPage): Promise<RehearsalRow[]> {
  const { rows } = await db.query<RehearsalRow>(
    `SELECT ${REHEARSAL_COLUMNS},
            (SELECT coalesce(jsonb_object_agg(c.outcome, c.count), '{}')
               FROM (SELECT coalesce(t.outcome, 'pending') AS outcome, count(*) AS count
                       FROM rehearsal_targets t JOIN tenants n ON n.id = t.tenant_id
                      WHERE t.rehearsal_id = r.id AND ($2::text[] IS NULL OR n.region = ANY ($2))
                      GROUP BY 1) AS c) AS counts,
            (SELECT count(*)::int FROM rehearsal_targets t JOIN tenants n ON n.id = t.tenant_id
              WHERE t.rehearsal_id = r.id AND ($2::text[] IS NULL OR n.region = ANY ($2))
                AND t.outcome = 'not_rehearsed'
                AND t.measured @> '{"migrations": [{"outcome": "passed"}]}') AS partly,
            (WITH seen AS (
               SELECT t.measured,
                      CASE WHEN t.outcome = 'passes' OR t.measured -> 'migrations' <> '[]'
                           THEN jsonb_path_query_array(t.measured, '$.migrations[*].name') ELSE p.missing END AS missing
                 FROM rehearsal_targets t
                 JOIN tenants n ON n.id = t.tenant_id
                 JOIN rollout_targets p ON p.rollout_id = r.rollout_id AND p.database_id = t.database_id
                WHERE t.rehearsal_id = r.id AND ($2::text[] IS NULL OR n.region = ANY ($2))
                  AND t.outcome <> 'skipped')
             SELECT coalesce(jsonb_agg(u.name ORDER BY u.name COLLATE "C"), '[]')
               FROM (SELECT jsonb_array_elements_text(missing) AS name FROM seen
                     EXCEPT
                     SELECT jsonb_path_query(measured, '$.migrations[*] ? (@.outcome != "not_rehearsed").name') #>> '{}'
                       FROM seen) AS u) AS untried
       FROM rehearsals r
      WHERE r.rollout_id = $1
        AND ($3::timestamptz IS NULL OR (date_trunc('milliseconds', r.created_at), r.id) < ($3, $4::uuid))
      ORDER BY date_trunc('milliseconds', r.created_at) DESC, r.id DESC
      LIMIT $5`,
    [page.rolloutId, page.regions, page.after?.createdAt ?? null, page.after?.id ?? null, page.limit],
  );
  return rows;
}

export interface RehearsalTargetRow extends Pick<
  RehearsalTarget,
  'tenant' | 'region' | 'server' | 'wave' | 'how' | 'outcome' | 'reason'
> {
  error: StoredError | null;
  /** What it lacked when the rollout was planned. */
  missing: string[];
  measured: Pick<
    RehearsalTarget,
    'migrations' | 'lockWaitMs' | 'heldMs' | 'durationMs' | 'locks' | 'rewrites'
  > | null;
  finishedAt: Date | null;
}

/** In the order of the plan. */
export async function listRehearsalTargets(
  db: Queryable,
  id: string,
  regions: string[] | null,
): Promise<RehearsalTargetRow[]> {
  const { rows } = await db.query<RehearsalTargetRow>(
    `SELECT n.slug AS tenant, n.region, s.name AS server, w.name AS wave, t.how, t.outcome, t.reason, t.error,
            t.measured, p.missing, t.finished_at AS "finishedAt"
       FROM rehearsal_targets t
       JOIN rehearsals r ON r.id = t.rehearsal_id
       JOIN tenants n ON n.id = t.tenant_id
       JOIN databases d ON d.id = t.database_id
       JOIN servers s ON s.id = d.server_id
       JOIN rollout_targets p ON p.rollout_id = r.rollout_id AND p.database_id = t.database_id
       JOIN rollout_waves w ON w.rollout_id = r.rollout_id AND w.ordinal = t.wave
      WHERE t.rehearsal_id = $1 AND ($2::text[] IS NULL OR n.region = ANY ($2))
      ORDER BY t.wave, t.ordinal`,
    [id, regions],
  );
  return rows;
}
