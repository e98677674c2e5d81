import type { Asker } from '../../access/caller.ts';
import { wake } from '../../operations/driver.ts';
import type { Transaction } from '../../registry/registry.ts';
import { isGateCause } from '../gates/gate.ts';
import { restartGates } from '../gates/store.ts';
import { admit, apply, personsCause } from './admit.ts';

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
  if (isGateCause(rollout.cause)) await restartGates(tx, id, 'unfinished');
  await wake(tx, 'rollout', id);
}
