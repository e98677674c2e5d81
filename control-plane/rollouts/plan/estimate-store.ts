import type { Queryable } from '../../../platform/pg.ts';

/** What estimates read: targets that are left, and what migrations have taken elsewhere. Writes nothing. */

export interface LeftTarget {
  databaseId: string;
  serverId: string;
  wave: number;
  missing: string[];
  /** What of its migrations took in the last rehearsal of it, in milliseconds. */
  rehearsed: { name: string; durationMs: number }[];
}

/** Targets that are still to run, in their order, with what their last rehearsal of the release has measured. */
export async function leftTargets(
  db: Queryable,
  rolloutId: string,
  regions: string[] | null,
): Promise<LeftTarget[]> {
  const { rows } = await db.query<LeftTarget>(
    `SELECT p.database_id AS "databaseId", p.server_id AS "serverId", p.wave, p.missing,
            coalesce(last.rehearsed, '[]') AS rehearsed
       FROM rollout_targets p
       JOIN rollouts r ON r.id = p.rollout_id
       JOIN tenants n ON n.id = p.tenant_id
       LEFT JOIN LATERAL (
         SELECT jsonb_path_query_array(t.measured, '$.migrations[*] ? (@.durationMs != null)') AS rehearsed
           FROM rehearsal_targets t JOIN rehearsals h ON h.id = t.rehearsal_id
          WHERE t.database_id = p.database_id AND h.release = r.release AND t.outcome IS NOT NULL
            AND t.measured -> 'migrations' <> '[]'
          ORDER BY t.finished_at DESC LIMIT 1) AS last ON true
      WHERE p.rollout_id = $1 AND p.state IN ('pending', 'deferred', 'running', 'unknown', 'failed', 'unreachable')
        AND ($2::text[] IS NULL OR n.region = ANY ($2))
      ORDER BY p.wave, p.ordinal`,
    [rolloutId, regions],
  );
  return rows;
}

/** The youngest say most, and a sample of them says enough. */
const ROLLOUTS_ASKED = 20;
const TARGETS_ASKED = 2_000;

/** The median of what each migration took on targets of the last rollouts, in milliseconds. */
export async function historyOf(db: Queryable, names: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await db.query<{ name: string; median: number }>(
    `SELECT a ->> 'name' AS name, percentile_cont(0.5) WITHIN GROUP (ORDER BY (a ->> 'durationMs')::float8) AS median
       FROM (SELECT t.applied FROM rollout_targets t
              WHERE t.applied IS NOT NULL AND t.state = 'verified'
                AND t.rollout_id IN (SELECT id FROM rollouts WHERE started_at IS NOT NULL AND undo_of IS NULL
                                      ORDER BY started_at DESC LIMIT $2)
              LIMIT $3) AS seen, jsonb_array_elements(seen.applied) AS a
      WHERE a ->> 'name' = ANY ($1)
      GROUP BY 1`,
    [names, ROLLOUTS_ASKED, TARGETS_ASKED],
  );
  return new Map(rows.map(({ name, median }) => [name, median]));
}
