import type { Tier } from '../../../contract/tenant.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { DUE_FROM_SHARE, type RotationPolicy, type Serving } from './plan.ts';

/** What the policy looks at: tenants, and the credentials that serve them. Reads only. */

/** How many tenants each tier serves. */
export async function countByTier(db: Queryable): Promise<Record<Tier, number>> {
  const { rows } = await db.query<{ tier: Tier; count: number }>(
    "SELECT tier, count(*)::int AS count FROM tenants WHERE state = 'active' GROUP BY tier",
  );
  const counts: Record<Tier, number> = { standard: 0, premium: 0, enterprise: 0 };
  for (const { tier, count } of rows) counts[tier] = count;
  return counts;
}

/** 6 h: a rotation that has failed is tried again by itself, but not every few minutes. */
const FAILED_HOURS = 6;

/** Credentials of active tenants that may be due, and that nothing was tried for a short time ago in vain. */
export async function servingFor(db: Queryable, policy: RotationPolicy): Promise<Serving[]> {
  const { rows } = await db.query<Serving>(
    `SELECT t.id AS "tenantId", t.tier, (extract(epoch FROM v.staged_at) * 1000)::float8 AS since
       FROM tenants t
       JOIN jsonb_each_text($1) AS policy (tier, period) ON policy.tier = t.tier
       JOIN databases d ON d.tenant_id = t.id AND d.state = 'ready'
       JOIN secret_versions v ON v.subject = 'database:' || d.id AND v.stage = 'current'
      WHERE t.state = 'active'
        AND v.staged_at < now() - policy.period::float8 * ${DUE_FROM_SHARE} * interval '1 millisecond'
        AND NOT EXISTS (SELECT FROM operations o
                         WHERE o.subject = 'tenant:' || t.id AND o.kind = 'secret.rotate' AND o.state <> 'succeeded'
                           AND o.created_at > now() - interval '${FAILED_HOURS} hours')`,
    [JSON.stringify(policy)],
  );
  return rows;
}
