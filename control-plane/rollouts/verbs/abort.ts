import type { Asker } from '../../access/caller.ts';
import type { Transaction } from '../../registry/registry.ts';
import { endOutages } from '../engine/outage-store.ts';
import { forceRollout, touchRollout, type RolloutRecord } from '../store.ts';
import { skipPending } from '../target-store.ts';
import { forsakeUndo } from '../engine/undo-end.ts';
import { failOpenWaves } from '../wave-store.ts';
import { admit, apply, record, personsCause } from './admit.ts';

/**
 * Ends the rollout for good. Statements that wait for a lock are cancelled; what runs may end, unless `force`. No
 * schema is reverted.
 */
export async function abortRollout(
  tx: Transaction,
  id: string,
  asker: Asker & { force?: boolean | undefined },
): Promise<void> {
  const rollout = await admit(tx, id, asker);
  const force = asker.force === true && rollout.forcedAt === null;
  if (rollout.state === 'aborted' && !force) return;
  if (rollout.state !== 'aborted') {
    await apply(tx, rollout, 'abort', asker, personsCause('aborted', asker));
    await leaveOff(tx, rollout, asker.caller.name);
  }
  if (!force) return;
  await forceRollout(tx, id);
  await touchRollout(tx, id);
  record(tx, rollout, 'force', asker);
}

/**
 * What an abort leaves, whichever verb brought it: nothing waits, no wave is open any more, and an undo gives back what
 * it had taken over.
 */
export async function leaveOff(tx: Transaction, rollout: RolloutRecord, actor: string): Promise<void> {
  await skipPending(tx, rollout.id, 'aborted');
  await failOpenWaves(tx, rollout.id);
  await forsakeUndo(tx, rollout, actor);
  await endOutages(tx, rollout.id, null);
}
