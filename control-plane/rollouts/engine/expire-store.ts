import type { Queryable } from '../../../platform/pg.ts';

/** A fleet is another one after a month, with other tenants and other releases: such a plan is made anew. In days. */
const PLANS_KEPT_DAYS = 30;

export interface ExpiredPlan {
  id: string;
  /** The release that the fleet has already, which is newer than the plan's; null where the plan is only old. */
  supersededBy: string | null;
}

/** Plans that can never start, or that nobody has started for long; without those in the queue. The oldest first. */
export async function expiredPlans(db: Queryable): Promise<ExpiredPlan[]> {
  const { rows } = await db.query<ExpiredPlan>(
    `SELECT r.id, c.name AS "supersededBy"
       FROM rollouts r
       JOIN releases l ON l.name = r.release
       LEFT JOIN (settings s JOIN releases c ON c.name = s.value ->> 'name')
              ON s.key = 'current_release' AND c.head_ordinal > l.head_ordinal
      WHERE r.state = 'planned' AND r.queued_at IS NULL
        AND (c.name IS NOT NULL OR r.created_at < now() - $1 * interval '1 day')
      ORDER BY r.created_at`,
    [PLANS_KEPT_DAYS],
  );
  return rows;
}
