import { FleetError } from '../../../platform/errors.ts';
import type { Asker } from '../../access/caller.ts';
import { auditAsked } from '../../audit/audit.ts';
import { wake } from '../../operations/driver.ts';
import type { Transaction } from '../../registry/registry.ts';
import { restartGates } from '../gates/store.ts';
import { endOutages, hurryOutages } from '../engine/outage-store.ts';
import { isOnItsWay, retryTargets } from './retry-store.ts';
import { touchRollout, type RolloutRecord } from '../store.ts';
import { reopenWaves } from '../wave-store.ts';
import { admit, apply, requireWave } from './admit.ts';

/**
 * Runs failed and unreachable targets again: all of a halted rollout's, or one wave's or tenant's, of one that runs as
 * well; a tenant that is named also when it had been skipped. Verified ones stay as they are, and what was applied to
 * the others before is found in their databases, not run twice. After a halt, bakes and gates of the waves that have
 * failed begin anew; in a rollout that runs, a wave that has passed opens again for its target, and passes anew.
 * @throws FleetError 409 `wrong_state`, 409 `nothing_to_retry` when `target` or `wave` name no failed target, 404
 *   `wave_not_found`
 */
export async function retryRollout(
  tx: Transaction,
  id: string,
  asker: Asker & { target?: string | undefined; wave?: string | undefined },
): Promise<void> {
  const rollout = await admit(tx, id, asker);
  const runs = rollout.state === 'running';
  const name = asker.target ?? asker.wave;
  if (runs && name === undefined) return;
  if (!runs) await apply(tx, rollout, 'retry', asker, null);
  const wave = asker.wave === undefined ? null : await requireWave(tx, id, asker.wave);
  const only = { tenant: asker.target ?? null, wave };
  const servers = await retryTargets(tx, id, only);
  if (servers.length === 0 && name !== undefined) {
    if (runs && (await isOnItsWay(tx, id, only))) return;
    throw nothingToRetry(id, name);
  }
  if (runs) await joinRunning(tx, rollout, servers, asker);
  else await beginAnew(tx, id);
  await wake(tx, 'rollout', id);
}

async function beginAnew(tx: Transaction, id: string): Promise<void> {
  await endOutages(tx, id, null);
  await reopenWaves(tx, id, true);
  await restartGates(tx, id, 'all');
}

/** What runs is left alone. */
async function joinRunning(
  tx: Transaction,
  rollout: RolloutRecord,
  servers: readonly string[],
  asker: Asker & { target?: string | undefined; wave?: string | undefined },
): Promise<void> {
  await hurryOutages(tx, rollout.id, servers);
  await reopenWaves(tx, rollout.id, false);
  await touchRollout(tx, rollout.id);
  auditAsked(tx, asker, {
    action: 'rollout.retry',
    resource: `rollout:${rollout.id}`,
    before: { state: rollout.state },
    after: { tenant: asker.target, wave: asker.wave, targets: servers.length },
  });
}

function nothingToRetry(id: string, name: string): FleetError {
  return new FleetError({
    code: 'nothing_to_retry',
    status: 409,
    message: `${name} has no failed, unreachable or skipped target in this rollout`,
    fix: `fleet rollout get ${id} shows the failing ones`,
  });
}
