import type { StoredError } from '../../../contract/problem.ts';
import type { RehearsalCounts, RehearsalTarget } from '../../../contract/rehearsal.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { REHEARSAL_COLUMNS, type RehearsalRecord } from './store.ts';

/** What the API reads of rehearsals. Joins tenants, servers and waves for their names. */
export type RehearsalRow = RehearsalRecord & { counts: Partial<RehearsalCounts> };

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
                      GROUP BY 1) AS c) AS counts
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
            t.measured, t.finished_at AS "finishedAt"
       FROM rehearsal_targets t
       JOIN rehearsals r ON r.id = t.rehearsal_id
       JOIN tenants n ON n.id = t.tenant_id
       JOIN databases d ON d.id = t.database_id
       JOIN servers s ON s.id = d.server_id
       JOIN rollout_waves w ON w.rollout_id = r.rollout_id AND w.ordinal = t.wave
      WHERE t.rehearsal_id = $1 AND ($2::text[] IS NULL OR n.region = ANY ($2))
      ORDER BY t.wave, t.ordinal`,
    [id, regions],
  );
  return rows;
}
