import { FleetError } from '../../../platform/errors.ts';
import type { Lease } from '../../operations/lease.ts';
import type { Registry } from '../../registry/registry.ts';
import { recordEngineAction } from './halt.ts';
import { ENGINE_ACTOR } from '../rollout.ts';
import { startRollout } from '../verbs/start.ts';
import { explainPlan, findRollout, lockActiveRollout } from '../store.ts';

/** What may pass by itself is asked again this often, in milliseconds: as often as a lost server is tried. */
const AGAIN_MS = 15_000;

/**
 * A plan in the queue starts when no rollout is active any more, in the name of whoever queued it. What then stands
 * against it is said in its cause; unless it may pass by itself, it takes the plan out of the queue: it is never
 * started in silence on a fleet that is not whole. Answers whether the rollout is to be carried.
 */
export async function startNextInQueue(registry: Registry, lease: Lease, id: string): Promise<boolean> {
  const queued = await findRollout(registry, id);
  if (queued?.state !== 'planned' || queued.queuedBy === null) return queued !== undefined;
  const { queuedBy: caller, queuedDespiteRehearsal: despiteRehearsal } = queued;
  try {
    await lease.transaction(async (tx) => {
      if ((await lockActiveRollout(tx)) !== undefined) return;
      const asker = { caller, requestId: null, reason: 'its turn in the queue' };
      await startRollout(tx, id, { ...asker, despiteRehearsal });
    });
  } catch (error) {
    if (!(error instanceof FleetError)) throw error;
    const cause = { ...refusal(id, error), actor: ENGINE_ACTOR };
    await lease.transaction(async (tx) => {
      const told = await explainPlan(tx, id, cause, error.retryable ? AGAIN_MS : null);
      if (told && !error.retryable) recordEngineAction(tx, queued, 'rollout.dequeue', { cause });
    });
  }
  return true;
}

/** Everybody who may see the plan reads it, so it names no tenant and no server: those are told to who starts it. */
function refusal(id: string, { code, retryable }: FleetError) {
  return {
    code,
    message: `its turn in the queue came, and it was refused: ${code}${retryable ? '; it is tried again' : ''}`,
    fix: `fleet rollout start ${id} says what stands against it`,
  };
}
