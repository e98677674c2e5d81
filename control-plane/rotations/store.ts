import type { Queryable } from '../../platform/pg.ts';
import { SILENT_MINUTES_MAX } from '../apps/app.ts';

/**
 * An hour: a process that is cut off, or asleep, for longer than that has to fetch its credential anew. Until then an
 * app that says nothing keeps what it has.
 */
export const GRACE_MS = 3_600_000;

const IS_OVERDUE = `v.staged_at < now() - ${GRACE_MS} * interval '1 millisecond'`;

/** Versions that were rotated out and that nobody should need any more, or whose time is over. */
export const RETIRABLE_SQL = `
  SELECT v.id::text FROM secret_versions v
    JOIN databases d ON d.id = split_part(v.subject, ':', 2)::uuid AND v.subject LIKE 'database:%'
    JOIN tenants t ON t.id = d.tenant_id
   WHERE v.stage = 'previous' AND (v.look_at IS NULL OR v.look_at <= now())
     AND (v.revoked OR ${IS_OVERDUE} OR unacknowledged(t.id, ${SILENT_MINUTES_MAX}) = 0)`;

/** A version in stage previous, with what its end depends on. */
export interface RotatedOut {
  id: string;
  subject: string;
  login: string;
  region: string;
  tenant: string;
  databaseId: string;
  serverId: string;
  /** Live app instances that may still use it. */
  behind: number;
  isOverdue: boolean;
  /** It has leaked. */
  revoked: boolean;
}

/** Undefined when the version is not in stage previous (any more). */
export async function findRotatedOut(db: Queryable, id: string): Promise<RotatedOut | undefined> {
  const { rows } = await db.query<RotatedOut>(
    `SELECT v.id, v.subject, v.login, v.region, t.slug AS tenant, d.id AS "databaseId", d.server_id AS "serverId",
            unacknowledged(t.id, ${SILENT_MINUTES_MAX}) AS behind, ${IS_OVERDUE} AS "isOverdue", v.revoked
       FROM secret_versions v
       JOIN databases d ON d.id = split_part(v.subject, ':', 2)::uuid
       JOIN tenants t ON t.id = d.tenant_id
      WHERE v.id = $1 AND v.stage = 'previous' AND v.subject LIKE 'database:%'`,
    [id],
  );
  return rows[0];
}

/** Live app instances that have not acknowledged the tenant's present credential. */
export async function countBehind(db: Queryable, tenantId: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>('SELECT unacknowledged($1, $2) AS count', [
    tenantId,
    SILENT_MINUTES_MAX,
  ]);
  return rows[0]?.count ?? 0;
}
