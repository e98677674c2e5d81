import { FleetError } from '../../../platform/errors.ts';
import type { Asker } from '../../access/caller.ts';
import { auditAsked } from '../../audit/audit.ts';
import type { Transaction } from '../../registry/registry.ts';
import { moveRollout, supersede, type RolloutRecord } from '../store.ts';
import { admit } from './admit.ts';
import { leaveOff } from './abort.ts';

/**
 * Puts `next` in the place of a rollout that stands halted, paused or aborted, by a person's express word: nothing is
 * ever replaced in silence.
 * @throws FleetError 404 `rollout_not_found`, 403 `region_forbidden`, 409 `cannot_supersede`
 */
export async function supersedeRollout(
  tx: Transaction,
  id: string,
  next: RolloutRecord,
  asker: Asker,
): Promise<void> {
  // The version that the asker has seen is that of the plan, not of this one.
  const old = await admit(tx, id, { ...asker, ifMatch: undefined });
  if (old.supersededBy === next.id) return;
  if (id === next.id || old.supersededBy !== null || !REPLACEABLE.has(old.state)) throw cannotSupersede(old);
  if (old.state !== 'aborted') {
    const actor = asker.caller.name;
    await moveRollout(tx, old, 'abort', {
      code: 'superseded',
      message: asker.reason ?? `rollout ${next.id} of release ${next.release} takes its place`,
      actor,
    });
    await leaveOff(tx, old, actor);
  }
  await supersede(tx, id, next.id);
  auditAsked(tx, asker, {
    action: 'rollout.supersede',
    resource: `rollout:${id}`,
    before: { state: old.state },
    after: { by: next.id },
  });
}

const REPLACEABLE: ReadonlySet<RolloutRecord['state']> = new Set(['halted', 'paused', 'aborted']);

function cannotSupersede({ id, state, supersededBy }: RolloutRecord): FleetError {
  const why = supersededBy === null ? `is ${state}` : `was superseded by ${supersededBy} already`;
  return new FleetError({
    code: 'cannot_supersede',
    status: 409,
    message: `rollout ${id} ${why}: only one that is halted, paused or aborted can be superseded`,
    fix: `fleet rollout get ${id}`,
  });
}
