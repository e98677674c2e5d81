import { FleetError } from '../../platform/errors.ts';
import type { Lease } from '../operations/lease.ts';
import type { Registry } from '../registry/registry.ts';
import { ENGINE_ACTOR } from './rollout.ts';
import { startRollout } from './start.ts';
import { explainPlan, findRollout, lockActiveRollout, queueRollout } from './store.ts';

/**
 * A plan in the queue starts when no rollout is active any more, in the name of whoever queued it. What then stands
 * against it takes it out of the queue and is said in its cause: it is never started in silence on a fleet that is
 * not whole. Answers whether the rollout is to be carried.
 */
export async function startNextInQueue(registry: Registry, lease: Lease, id: string): Promise<boolean> {
  const queued = await findRollout(registry, id);
  if (queued?.state !== 'planned' || queued.queuedBy === null) return queued !== undefined;
  const { queuedBy } = queued;
  try {
    await lease.transaction(async (tx) => {
      if ((await lockActiveRollout(tx)) !== undefined) return;
      await startRollout(tx, id, { caller: queuedBy, requestId: null, reason: 'its turn in the queue' });
    });
  } catch (error) {
    if (!(error instanceof FleetError)) throw error;
    const { code, message, fix } = error;
    await lease.transaction(async (tx) => {
      await queueRollout(tx, id, null);
      await explainPlan(tx, id, { code, message, fix, actor: ENGINE_ACTOR });
    });
  }
  return true;
}
