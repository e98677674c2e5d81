import type { Queryable } from '../../../platform/pg.ts';
import { targetAfter, targetSources } from '../rollout.ts';

/** SQL of `rollout_targets` that a person wants to run again. */

/** Which: all, one tenant's (by slug or id), those of one wave. */
export interface Retried {
  tenant: string | null;
  wave: number | null;
}

/**
 * Lets failed and unreachable targets run again: all of them, or the tenant's or wave's only; a tenant that is named also
 * when a person had left it behind. Answers the server of each.
 */
export async function retryTargets(db: Queryable, rolloutId: string, only: Retried): Promise<string[]> {
  const { rows } = await db.query<{ serverId: string }>(
    `UPDATE rollout_targets t
        SET state = $4, error = NULL, reason = NULL, skipped_by = NULL, finished_at = NULL
       FROM tenants n
      WHERE t.rollout_id = $1 AND n.id = t.tenant_id
        AND (t.state = ANY($2) OR $3::text IS NOT NULL AND t.state = ANY($6) AND t.skipped_by IS NOT NULL)
        AND ($3::text IS NULL OR n.slug = $3 OR n.id::text = $3) AND ($5::int IS NULL OR t.wave = $5)
      RETURNING t.server_id AS "serverId"`,
    [
      ...[rolloutId, targetSources('retry'), only.tenant, targetAfter('retry'), only.wave],
      targetSources('readmit'),
    ],
  );
  return rows.map(({ serverId }) => serverId);
}

/** Whether what was asked for is on its way: the tenant's target, or one of the wave, waits to run or runs. */
export async function isOnItsWay(db: Queryable, rolloutId: string, only: Retried): Promise<boolean> {
  const { rows } = await db.query(
    `SELECT 1 FROM rollout_targets t JOIN tenants n ON n.id = t.tenant_id
      WHERE t.rollout_id = $1 AND (t.state = ANY($2) OR t.state = $3 OR t.not_before IS NOT NULL)
        AND ($4::text IS NULL OR n.slug = $4 OR n.id::text = $4) AND ($5::int IS NULL OR t.wave = $5) LIMIT 1`,
    [rolloutId, targetSources('claim'), targetAfter('claim'), only.tenant, only.wave],
  );
  return rows.length > 0;
}
