import type { Queryable } from '../../../platform/pg.ts';
import type { Lease } from '../../operations/lease.ts';
import { ROLLOUT_CHANNEL } from '../announce.ts';
import { targetAfter } from '../rollout.ts';

export type Fence = Pick<Lease, 'resource' | 'holder' | 'epoch'>;

/**
 * Writes of a target in flight what watchers are told, behind the fence, and tells them.
 * @param set an assignment in SQL, whose values are $6 and on
 */
export async function writeInFlight(
  db: Queryable,
  target: { rolloutId: string; databaseId: string },
  lease: Fence,
  { set, values }: { set: string; values: readonly unknown[] },
): Promise<void> {
  const [state, channel] = [values.length + 6, values.length + 7];
  await db.query(
    `WITH fenced AS MATERIALIZED (
       SELECT fence($1, $2, $3) AS ours
     ), written AS (
       UPDATE rollout_targets t
          SET ${set}
         FROM fenced
        WHERE fenced.ours AND t.rollout_id = $4 AND t.database_id = $5 AND t.state = $${state} AND t.epoch = $3
        RETURNING 1
     )
     SELECT pg_notify($${channel}, $4::text) FROM written`,
    [
      ...[lease.resource, lease.holder, lease.epoch, target.rolloutId, target.databaseId],
      ...values,
      ...[targetAfter('claim'), ROLLOUT_CHANNEL],
    ],
  );
}
