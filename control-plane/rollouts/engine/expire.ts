import type { Registry } from '../../registry/registry.ts';
import { expiredPlans, type ExpiredPlan } from './expire-store.ts';
import { recordEngineAction } from './halt.ts';
import { ENGINE_ACTOR, type Cause } from '../rollout.ts';
import { lockRollout, moveRollout } from '../store.ts';
import { leaveOff } from '../verbs/abort.ts';

/** Aborts plans that can never start any more, or are too old for anybody to mean them still. */
export async function expirePlans(registry: Registry): Promise<void> {
  for (const plan of await expiredPlans(registry)) {
    await registry.transaction(async (tx) => {
      const rollout = await lockRollout(tx, plan.id);
      // Started or queued meanwhile.
      if (rollout?.state !== 'planned' || rollout.queuedAt !== null) return;
      const cause = causeOf(plan, rollout.release);
      await moveRollout(tx, rollout, 'abort', cause);
      await leaveOff(tx, rollout, ENGINE_ACTOR);
      recordEngineAction(tx, rollout, 'rollout.abort', { cause });
    });
  }
}

function causeOf({ supersededBy }: ExpiredPlan, release: string): Cause {
  if (supersededBy === null) {
    const message = 'nobody has started the plan for a month';
    return { code: 'plan_expired', message, fix: 'plan it anew', actor: ENGINE_ACTOR };
  }
  return {
    code: 'release_superseded',
    message: `release ${release} is older than ${supersededBy}, which the fleet has already`,
    fix: 'publish a new release that brings the schema to where you want it',
    actor: ENGINE_ACTOR,
  };
}
