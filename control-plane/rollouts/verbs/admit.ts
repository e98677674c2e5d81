import { FleetError } from '../../../platform/errors.ts';
import { requireRegion, type Asker } from '../../access/caller.ts';
import { auditAsked } from '../../audit/audit.ts';
import { requireVersion } from '../../http/conflict.ts';
import type { Transaction } from '../../registry/registry.ts';
import { rolloutInWrongState, rolloutNotFound, type Cause, type RolloutEvent } from '../rollout.ts';
import { lockRollout, moveRollout, type RolloutRecord } from '../store.ts';
import { targetRegions } from '../target-store.ts';
import { listWaves } from '../wave-store.ts';

// What every verb begins and ends with. Saying a verb twice is the same as once.

/** The wave's ordinal. @throws FleetError 404 `wave_not_found` */
export async function requireWave(tx: Transaction, id: string, name: string): Promise<number> {
  const wave = (await listWaves(tx, id)).find((each) => each.name === name);
  if (wave !== undefined) return wave.ordinal;
  throw new FleetError({
    code: 'wave_not_found',
    status: 404,
    message: `rollout ${id} has no wave ${name}`,
    fix: `fleet rollout get ${id}`,
  });
}

/**
 * The rollout, locked, when the asker may act in all its regions and has seen its present version.
 * @throws FleetError 404 `rollout_not_found`; as requireRegion and requireVersion do
 */
export async function admit(tx: Transaction, id: string, asker: Asker): Promise<RolloutRecord> {
  const rollout = await lockRollout(tx, id);
  if (rollout === undefined) throw rolloutNotFound(id);
  for (const region of await targetRegions(tx, id)) requireRegion(asker.caller, region);
  requireVersion({ noun: 'rollout', name: id, version: rollout.version }, asker.ifMatch);
  return rollout;
}

/** Moves the rollout, and says in the audit log who wanted it. @throws FleetError 409 `wrong_state` */
export async function apply(
  tx: Transaction,
  rollout: RolloutRecord,
  event: RolloutEvent,
  asker: Asker,
  why: Cause | null,
): Promise<void> {
  if (!(await moveRollout(tx, rollout, event, why))) throw rolloutInWrongState(rollout, event);
  record(tx, rollout, event, asker);
}

/** Says in the audit log who said it. */
export function record(tx: Transaction, rollout: RolloutRecord, verb: string, asker: Asker): void {
  auditAsked(tx, asker, {
    action: `rollout.${verb}`,
    resource: `rollout:${rollout.id}`,
    before: { state: rollout.state },
  });
}

/** Why a person's stop is one: their reason, or who it was. */
export function personsCause(code: 'paused' | 'aborted', asker: Asker): Cause {
  const actor = asker.caller.name;
  return { code, message: asker.reason ?? `${code} by ${actor}`, actor };
}
