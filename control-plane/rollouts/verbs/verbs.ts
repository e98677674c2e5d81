import { FleetError } from '../../../platform/errors.ts';
import { requireRegion, type Asker } from '../../access/caller.ts';
import { auditAsked } from '../../audit/audit.ts';
import { requireVersion } from '../../http/conflict.ts';
import { wake } from '../../operations/driver.ts';
import type { Transaction } from '../../registry/registry.ts';
import { isGateCause } from '../gates/gate.ts';
import { restartGates } from '../gates/store.ts';
import { endOutages, hurryOutages } from '../engine/outage-store.ts';
import { isOnItsWay, retryTargets } from './retry-store.ts';
import { rolloutInWrongState, rolloutNotFound, type Cause, type RolloutEvent } from '../rollout.ts';
import { forceRollout, lockRollout, moveRollout, touchRollout, type RolloutRecord } from '../store.ts';
import { skipPending, targetRegions } from '../target-store.ts';
import { forsakeUndo } from '../engine/undo-end.ts';
import { leaveTarget } from '../engine/wait-store.ts';
import { failOpenWaves, listWaves, reopenWaves } from '../wave-store.ts';

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
  if (isGateCause(rollout.cause)) await restartGates(tx, id, 'unfinished');
  await wake(tx, 'rollout', id);
}

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

/** @throws FleetError 404 `rollout_not_found`, 404 `wave_not_found` */
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

/** The rollout, locked, when the asker may act in all its regions and has seen its present version. */
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

function record(tx: Transaction, rollout: RolloutRecord, verb: string, asker: Asker): void {
  auditAsked(tx, asker, {
    action: `rollout.${verb}`,
    resource: `rollout:${rollout.id}`,
    before: { state: rollout.state },
  });
}

function personsCause(code: 'paused' | 'aborted', asker: Asker): Cause {
  const actor = asker.caller.name;
  return { code, message: asker.reason ?? `${code} by ${actor}`, actor };
}
