import type { Queryable } from '../../../platform/pg.ts';
import type { RolloutRecord } from '../store.ts';

/** What rollouts know of a release that is to be withdrawn. */
export interface Bearer {
  tenant: string;
  rollout: string;
}

/** Plans of the release that nobody has started, locked. */
export async function lockPlans(
  tx: Queryable,
  release: string,
): Promise<Pick<RolloutRecord, 'id' | 'state' | 'undoOf'>[]> {
  const { rows } = await tx.query<Pick<RolloutRecord, 'id' | 'state' | 'undoOf'>>(
    `SELECT id, state, undo_of AS "undoOf" FROM rollouts WHERE release = $1 AND state = 'planned'
      ORDER BY id FOR UPDATE`,
    [release],
  );
  return rows;
}

/** Targets in flight, of any rollout or undo, that one of these migrations may be coming to or going from. */
export async function targetsInFlight(db: Queryable, migrations: readonly string[]): Promise<Bearer[]> {
  const { rows } = await db.query<Bearer>(
    `SELECT n.slug AS tenant, t.rollout_id AS rollout
       FROM rollout_targets t JOIN tenants n ON n.id = t.tenant_id
      WHERE t.state IN ('running', 'unknown') AND t.missing ?| $1 ORDER BY n.slug`,
    [migrations],
  );
  return rows;
}

/**
 * Databases that have got one of these migrations from a rollout, whole or half, and not given it back by an undo; and
 * those of which nobody knows, as their server was lost in the middle and no later try has ended otherwise.
 */
export async function possibleBearers(db: Queryable, migrations: readonly string[]): Promise<Bearer[]> {
  const { rows } = await db.query<Bearer>(
    `SELECT n.slug AS tenant, t.rollout_id AS rollout
       FROM rollout_targets t
       JOIN rollouts r ON r.id = t.rollout_id AND r.undo_of IS NULL
       JOIN databases d ON d.id = t.database_id AND d.state <> 'dropped'
       JOIN tenants n ON n.id = t.tenant_id
      WHERE t.tries > 0 AND t.state <> 'undone' AND t.missing ?| $1
        AND (EXISTS (SELECT 1 FROM jsonb_array_elements(coalesce(t.applied, '[]')) AS a WHERE a ->> 'name' = ANY ($1))
             OR t.half_applied = ANY ($1)
             OR (t.progress ->> 'migration' = ANY ($1)
                 AND ((t.progress ->> 'rowsDone')::bigint > 0 OR (t.progress ->> 'quarantined')::bigint > 0))
             OR (t.state = 'unreachable' AND NOT EXISTS (
                   SELECT 1 FROM rollout_targets later
                    WHERE later.database_id = t.database_id AND later.tries > 0
                      AND later.state <> 'unreachable' AND later.started_at > t.started_at)))
      ORDER BY n.slug`,
    [migrations],
  );
  return rows;
}

/**
 * Databases that are being made, or were left in the making, where the release has been what new tenants are born at
 * and was undone: what they have is not on record before they are ready.
 */
export async function birthsUnderWay(db: Queryable, release: string): Promise<string[]> {
  const { rows } = await db.query<{ tenant: string }>(
    `SELECT n.slug AS tenant FROM databases d JOIN tenants n ON n.id = d.tenant_id
      WHERE d.state = 'reserved'
        AND EXISTS (SELECT 1 FROM rollouts r WHERE r.release = $1 AND r.state = 'undone')
      ORDER BY n.slug`,
    [release],
  );
  return rows.map(({ tenant }) => tenant);
}
