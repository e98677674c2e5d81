import { FleetError } from '../../platform/errors.ts';
import { requireRegion, type Asker } from '../access/caller.ts';
import { auditAsked } from '../audit/audit.ts';
import { requireVersion } from '../http/conflict.ts';
import { wake } from '../operations/driver.ts';
import type { Transaction } from '../registry/registry.ts';
import { rolloutInWrongState, rolloutNotFound, type Cause, type RolloutEvent } from './rollout.ts';
import { lockRollout, moveRollout, reopenWaves, type RolloutRecord } from './store.ts';
import { retryTargets, skipPending, targetRegions } from './target-store.ts';

// A person's words to a rollout. Saying one twice is the same as once.

/** No new target is started; those in flight finish and are recorded. A bake's end stays where it is. */
export async function pauseRollout(tx: Transaction, id: string, asker: Asker): Promise<void> {
  const rollout = await admit(tx, id, asker);
  if (rollout.state === 'paused') return;
  await apply(tx, rollout, 'pause', asker, personsCause('paused', asker));
}

/** Goes on after a pause. What the machine has halted needs a repair and `retry` instead. */
export async function resumeRollout(tx: Transaction, id: string, asker: Asker): Promise<void> {
  const rollout = await admit(tx, id, asker);
  if (rollout.state === 'running') return;
  await apply(tx, rollout, 'resume', asker, null);
  await wake(tx, 'rollout', id);
}

/** Ends the rollout for good. Targets in flight finish; no schema is reverted. */
export async function abortRollout(tx: Transaction, id: string, asker: Asker): Promise<void> {
  const rollout = await admit(tx, id, asker);
  if (rollout.state === 'aborted') return;
  await apply(tx, rollout, 'abort', asker, personsCause('aborted', asker));
  await skipPending(tx, id, 'aborted');
}

/**
 * Runs failed and unreachable targets of a halted rollout again: all, or the one tenant's. Verified ones stay as
 * they are, and what was applied to the others before is found in their databases, not run twice.
 * @throws FleetError 409 `nothing_to_retry` when `target` names no failed target
 */
export async function retryRollout(
  tx: Transaction,
  id: string,
  asker: Asker & { target?: string | undefined },
): Promise<void> {
  const rollout = await admit(tx, id, asker);
  if (rollout.state === 'running') return;
  await apply(tx, rollout, 'retry', asker, null);
  const count = await retryTargets(tx, id, asker.target ?? null);
  if (count === 0 && asker.target !== undefined) {
    throw new FleetError({
      code: 'nothing_to_retry',
      status: 409,
      message: `${asker.target} has no failed or unreachable target in this rollout`,
      fix: `fleet rollout get ${id} shows the failing ones`,
    });
  }
  await reopenWaves(tx, id, true);
  await wake(tx, 'rollout', id);
}

async function admit(tx: Transaction, id: string, asker: Asker): Promise<RolloutRecord> {
  const rollout = await lockRollout(tx, id);
  if (rollout === undefined) throw rolloutNotFound(id);
  for (const region of await targetRegions(tx, id)) requireRegion(asker.caller, region);
  requireVersion({ noun: 'rollout', name: id, version: rollout.version }, asker.ifMatch);
  return rollout;
}

async function apply(
  tx: Transaction,
  rollout: RolloutRecord,
  event: RolloutEvent,
  asker: Asker,
  why: Cause | null,
): Promise<void> {
  if (!(await moveRollout(tx, rollout, event, why))) throw rolloutInWrongState(rollout, event);
  auditAsked(tx, asker, {
    action: `rollout.${event}`,
    resource: `rollout:${rollout.id}`,
    before: { state: rollout.state },
  });
}

function personsCause(code: 'paused' | 'aborted', asker: Asker): Cause {
  const actor = asker.caller.name;
  return { code, message: asker.reason ?? `${code} by ${actor}`, actor };
}
