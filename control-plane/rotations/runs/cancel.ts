import type { Asker } from '../../access/caller.ts';
import { auditAsked } from '../../audit/audit.ts';
import { wrongState } from '../../http/conflict.ts';
import { wake } from '../../operations/driver.ts';
import type { Transaction } from '../../registry/registry.ts';
import { ROTATION } from './driver.ts';
import type { RunRecord } from './run.ts';
import { askToStop } from './run-store.ts';

/**
 * Asks the run to begin nothing more; what it has begun, it ends. Harmless when it was asked before.
 * @throws FleetError 409 `wrong_state` when it is over
 */
export async function cancelRun(tx: Transaction, run: RunRecord, asker: Asker): Promise<void> {
  if (run.state === 'cancelled' || run.stop !== null) return;
  if (run.finishedAt !== null) {
    throw wrongState({ noun: 'rotation', name: run.id, state: run.state }, 'cancel', ['queued', 'running']);
  }
  await askToStop(tx, run.id, { code: 'cancelled', message: `${asker.caller.name} has cancelled it` });
  auditAsked(tx, asker, { action: 'rotation.cancel', resource: `rotation:${run.id}` });
  await wake(tx, ROTATION, run.id);
}
