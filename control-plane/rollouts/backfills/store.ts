import type { BackfillHold, BackfillProgress } from '../../../contract/backfill.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { writeInFlight, type Fence } from '../engine/in-flight-store.ts';
import { targetSources } from '../rollout.ts';

/** SQL of `backfill_switches`, and of the progress of targets. Joins servers and tenants for their names. */

/** What a switch is for; both null: the whole fleet. */
export interface SwitchSubject {
  serverId: string | null;
  tenantId: string | null;
}

export interface HoldRow extends Omit<BackfillHold, 'since'> {
  since: Date;
}

/** Switches that are off, the fleet's first; those in the regions only, null means all. */
export async function listHolds(db: Queryable, regions: string[] | null): Promise<HoldRow[]> {
  const { rows } = await db.query<HoldRow>(
    `SELECT CASE WHEN s.id IS NOT NULL THEN 'server' WHEN t.id IS NOT NULL THEN 'tenant' ELSE 'fleet' END AS scope,
            coalesce(s.name, t.slug) AS name, b.reason, b.held_by AS by, b.since
       FROM backfill_switches b
       LEFT JOIN servers s ON s.id = b.server_id
       LEFT JOIN tenants t ON t.id = b.tenant_id
      WHERE $1::text[] IS NULL OR coalesce(s.region, t.region) IS NULL OR coalesce(s.region, t.region) = ANY ($1)
      ORDER BY array_position(ARRAY['fleet', 'server', 'tenant'], CASE WHEN s.id IS NOT NULL THEN 'server'
                 WHEN t.id IS NOT NULL THEN 'tenant' ELSE 'fleet' END), name`,
    [regions],
  );
  return rows;
}

/** The switch that holds the backfill of this database, if one does. */
export async function findHold(
  db: Queryable,
  { databaseId, serverId }: { databaseId: string; serverId: string },
): Promise<{ scope: BackfillHold['scope']; reason: string; by: string } | undefined> {
  const { rows } = await db.query<{ scope: BackfillHold['scope']; reason: string; by: string }>(
    `SELECT CASE WHEN server_id IS NOT NULL THEN 'server' WHEN tenant_id IS NOT NULL THEN 'tenant' ELSE 'fleet' END AS scope,
            reason, held_by AS by
       FROM backfill_switches
      WHERE (server_id IS NULL AND tenant_id IS NULL) OR server_id = $1
         OR tenant_id = (SELECT tenant_id FROM databases WHERE id = $2)
      ORDER BY server_id IS NOT NULL, tenant_id IS NOT NULL LIMIT 1`,
    [serverId, databaseId],
  );
  return rows[0];
}

/** Answers false when it was off already; reason and name are then the new ones all the same. */
export async function switchOff(
  tx: Queryable,
  { serverId, tenantId }: SwitchSubject,
  { reason, by }: { reason: string; by: string },
): Promise<boolean> {
  const { rows } = await tx.query<{ fresh: boolean }>(
    `INSERT INTO backfill_switches (server_id, tenant_id, reason, held_by) VALUES ($1, $2, $3, $4)
     ON CONFLICT (server_id, tenant_id) DO UPDATE SET reason = excluded.reason, held_by = excluded.held_by
     RETURNING xmax = 0 AS fresh`,
    [serverId, tenantId, reason, by],
  );
  return rows[0]?.fresh ?? false;
}

/** Answers false when it was on already. */
export async function switchOn(tx: Queryable, { serverId, tenantId }: SwitchSubject): Promise<boolean> {
  const { rowCount } = await tx.query(
    `DELETE FROM backfill_switches
      WHERE server_id IS NOT DISTINCT FROM $1::uuid AND tenant_id IS NOT DISTINCT FROM $2::uuid`,
    [serverId, tenantId],
  );
  return rowCount === 1;
}

/** Lets targets that were left alone with a held backfill run at once. Answers their rollouts. */
export async function recallHeld(tx: Queryable): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `WITH recalled AS (
       UPDATE rollout_targets SET not_before = now()
        WHERE state = ANY ($1) AND not_before > now() AND progress ->> 'reason' IS NOT NULL RETURNING rollout_id)
     SELECT DISTINCT rollout_id AS id FROM recalled ORDER BY 1`,
    [targetSources('due')],
  );
  return rows.map(({ id }) => id);
}

/** Writes how far the backfill of a target in flight is, behind the fence, and tells watchers. */
export async function writeProgress(
  db: Queryable,
  target: { rolloutId: string; databaseId: string },
  lease: Fence,
  progress: Omit<BackfillProgress, 'at'>,
): Promise<void> {
  await writeInFlight(db, target, lease, {
    set: `progress = $6::jsonb || jsonb_build_object('at', to_char(now() AT TIME ZONE 'UTC', $7))`,
    values: [JSON.stringify(progress), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'],
  });
}
