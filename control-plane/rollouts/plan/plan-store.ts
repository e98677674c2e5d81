import type { Queryable } from '../../../platform/pg.ts';
import type { Matched } from './match.ts';

/** SQL of what a plan is read as before it starts: its targets by what they lack, and those that wait. */

/** Whether the tenant `n` of a target is in one of the regions; null means all. */
const inRegions = (parameter: string): string =>
  `(${parameter}::text[] IS NULL OR n.region = ANY (${parameter}))`;

/** Targets that lack the same. */
export interface LackingTargets {
  missing: string[];
  targets: number;
  /** Servers that they are on. */
  servers: string[];
}

/** The most first. Targets that are left behind count nowhere. */
export async function targetsByMissing(
  db: Queryable,
  rolloutId: string,
  regions: string[] | null,
): Promise<LackingTargets[]> {
  const { rows } = await db.query<LackingTargets>(
    `SELECT t.missing, count(*)::int AS targets, array_agg(DISTINCT t.server_id::text) AS servers
       FROM rollout_targets t JOIN tenants n ON n.id = t.tenant_id
      WHERE t.rollout_id = $1 AND t.state <> 'skipped' AND ${inRegions('$2')}
      GROUP BY t.missing ORDER BY targets DESC, jsonb_array_length(t.missing), t.missing`,
    [rolloutId, regions],
  );
  return rows;
}

/** A target that does not run at once, with what a calendar's rules match on. */
export interface WaitingMember extends Matched {
  wave: string;
  state: 'deferred' | 'skipped';
  reason: string | null;
  notBefore: Date | null;
}

/** In the order of the plan. */
export async function waitingMembers(
  db: Queryable,
  rolloutId: string,
  regions: string[] | null,
): Promise<WaitingMember[]> {
  const { rows } = await db.query<WaitingMember>(
    `SELECT w.name AS wave, t.state, t.reason, t.not_before AS "notBefore", n.id AS "tenantId", n.slug, n.region,
            n.tier, n.labels, s.name AS "serverName"
       FROM rollout_targets t
       JOIN rollout_waves w ON w.rollout_id = t.rollout_id AND w.ordinal = t.wave
       JOIN tenants n ON n.id = t.tenant_id
       JOIN servers s ON s.id = t.server_id
      WHERE t.rollout_id = $1 AND t.state IN ('deferred', 'skipped') AND ${inRegions('$2')}
      ORDER BY t.wave, t.ordinal`,
    [rolloutId, regions],
  );
  return rows;
}

/** Tenants named where it is told who has a migration; the count says the rest. */
const TENANTS_NAMED = 5;

/** Tenants whose database has what stands at this place of the list, by the registry. */
export async function tenantsHaving(
  db: Queryable,
  ordinal: number,
  regions: string[] | null,
): Promise<{ tenants: string[]; count: number }> {
  const { rows } = await db.query<{ tenants: string[]; count: number }>(
    `SELECT coalesce((array_agg(n.slug ORDER BY n.slug))[1:$3::int], '{}') AS tenants, count(*)::int AS count
       FROM databases d
       JOIN tenants n ON n.id = d.tenant_id
       JOIN migrations m ON m.name = d.schema_version
      WHERE d.state = 'ready' AND m.ordinal >= $1 AND ${inRegions('$2')}`,
    [ordinal, regions, TENANTS_NAMED],
  );
  return rows[0] ?? { tenants: [], count: 0 };
}
