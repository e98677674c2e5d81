import type { Queryable } from '../../platform/pg.ts';

/** Channel on which every change of a rollout is announced; the payload is its id. */
export const ROLLOUT_CHANNEL = 'fleet_rollouts';

/** Tells watchers that the rollout has changed, when the transaction commits. */
export async function announce(db: Queryable, rolloutId: string): Promise<void> {
  await db.query('SELECT pg_notify($1, $2)', [ROLLOUT_CHANNEL, rolloutId]);
}
