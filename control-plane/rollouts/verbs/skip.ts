import { FleetError } from '../../../platform/errors.ts';
import type { Asker } from '../../access/caller.ts';
import { auditAsked } from '../../audit/audit.ts';
import { wake } from '../../operations/driver.ts';
import type { Transaction } from '../../registry/registry.ts';
import { rolloutInWrongState } from '../rollout.ts';
import { touchRollout } from '../store.ts';
import { leaveTarget } from '../engine/wait-store.ts';
import { admit } from './admit.ts';

/**
 * Leaves one tenant behind, with a reason: the rollout can succeed without it, and later ones pass it by until one
 * names it in a wave's match.
 * @throws FleetError 409 `target_not_waiting` when it is in flight, done, or no target of this rollout
 */
export async function skipTarget(
  tx: Transaction,
  id: string,
  asker: Asker & { target: string; reason: string },
): Promise<void> {
  const rollout = await admit(tx, id, asker);
  if (rollout.finishedAt !== null) throw rolloutInWrongState(rollout, 'abort', 'skip');
  const left = await leaveTarget(tx, id, asker.target, { by: asker.caller.name, reason: asker.reason });
  if (left === 'already') return;
  if (left === 'no') {
    throw new FleetError({
      code: 'target_not_waiting',
      status: 409,
      message: `${asker.target} has no target in this rollout that waits, failed or was not reached`,
      fix: `fleet rollout get ${id}; one in flight ends first: fleet rollout pause ${id}`,
    });
  }
  auditAsked(tx, asker, {
    action: 'rollout.skip',
    resource: `rollout:${id}`,
    after: { tenant: asker.target },
  });
  await touchRollout(tx, id);
  await wake(tx, 'rollout', id);
}
