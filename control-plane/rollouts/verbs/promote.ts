import { FleetError } from '../../../platform/errors.ts';
import type { Asker } from '../../access/caller.ts';
import { requirePermission } from '../../access/role.ts';
import { auditAsked } from '../../audit/audit.ts';
import { wake } from '../../operations/driver.ts';
import type { Transaction } from '../../registry/registry.ts';
import { requireOther } from './approve.ts';
import { isGateCause } from '../gates/gate.ts';
import { restartGates } from '../gates/store.ts';
import { endOutages } from '../engine/outage-store.ts';
import { rolloutInWrongState, rolloutSources } from '../rollout.ts';
import { approvePlan, forgiveRollout, moveRollout, touchRollout, type RolloutRecord } from '../store.ts';
import { admit } from './admit.ts';
import {
  approveWaves,
  endBakes,
  forgiveWaves,
  listWaves,
  moveWave,
  waiveWaves,
  type WaveRecord,
} from '../wave-store.ts';

/**
 * Leaves what the rollout stands in now, and only that: a pause, a bake, gates, or a halt, whose failures are then
 * borne. Never skips a migration or a check of what is applied. With `full`, the rest of all bakes, gates and
 * approvals is passed over as well; where approvals are among them, that takes another person than the author,
 * with the right to approve.
 * @throws FleetError 409 `wrong_state`, 409 `targets_behind`, 403 `self_approval`, 403 `forbidden`
 */
export async function promoteRollout(
  tx: Transaction,
  id: string,
  asker: Asker & { full?: boolean | undefined },
): Promise<void> {
  const rollout = await admit(tx, id, asker);
  const waves = await listWaves(tx, id);
  const full = asker.full === true;
  if (rollout.state !== 'running' && !rolloutSources('promote').includes(rollout.state)) {
    throw rolloutInWrongState(rollout, 'promote');
  }
  if (rollout.state === 'awaiting_approval' && !full) throw awaitsApproval(rollout);
  if (rollout.cause?.code === 'targets_behind') throw targetsBehind(rollout);
  if (full) await passAll(tx, rollout, waves, asker);
  const left = await leavePresent(tx, rollout, waves, asker);
  if (!left && !full) return;
  auditAsked(tx, asker, {
    action: 'rollout.promote',
    resource: `rollout:${id}`,
    before: { state: rollout.state, cause: rollout.cause?.code ?? null },
    after: { full },
  });
  if (rollout.state === 'running') await touchRollout(tx, id);
  else await moveRollout(tx, rollout, 'promote', null);
  await wake(tx, 'rollout', id);
}

/** Halts whose failures a promotion bears; a person who passes a gate has said nothing about failures. */
const BORNE: ReadonlySet<string> = new Set(['budget_exceeded', 'servers_unreachable']);

/** Answers whether there was anything to leave. */
async function leavePresent(
  tx: Transaction,
  rollout: RolloutRecord,
  waves: readonly WaveRecord[],
  asker: Asker,
): Promise<boolean> {
  const { id, state, cause } = rollout;
  const ofGate = isGateCause(cause);
  // The time that the rollout stood still is not held against the gates of other waves.
  if (ofGate || state === 'halted') await restartGates(tx, id, 'unfinished');
  if (state === 'halted') {
    const failed = waves.filter((wave) => wave.state === 'failed').map((wave) => wave.ordinal);
    if (ofGate) await waiveWaves(tx, id, failed, asker.caller.name);
    if (cause !== null && BORNE.has(cause.code)) {
      await forgiveWaves(tx, id, failed);
      await forgiveRollout(tx, id);
    }
    await endOutages(tx, id, null);
    return true;
  }
  if (state === 'paused') {
    const stopped = waves.filter((wave) => wave.name === cause?.wave).map((wave) => wave.ordinal);
    if (ofGate) await waiveWaves(tx, id, stopped, asker.caller.name);
    return true;
  }
  const gating = waves.filter((wave) => wave.state === 'gating');
  for (const wave of gating) await moveWave(tx, id, wave, 'pass');
  return (await endBakes(tx, id)) + gating.length > 0;
}

async function passAll(
  tx: Transaction,
  rollout: RolloutRecord,
  waves: readonly WaveRecord[],
  asker: Asker,
): Promise<void> {
  const lacking = waves.filter((wave) => wave.approve && wave.approvedAt === null);
  const planLacks = rollout.spec.approve && rollout.approvedAt === null;
  if (planLacks || lacking.length > 0) {
    requirePermission(asker.caller, 'rollout:approve');
    requireOther(rollout, asker);
  }
  const ordinals = (of: readonly WaveRecord[]): number[] => of.map((wave) => wave.ordinal);
  if (planLacks) await approvePlan(tx, rollout.id, asker.caller.name);
  await approveWaves(tx, rollout.id, ordinals(lacking), asker.caller.name);
  const open = waves.filter((wave) => wave.state !== 'passed');
  await waiveWaves(tx, rollout.id, ordinals(open), asker.caller.name);
}

function awaitsApproval({ id }: RolloutRecord): FleetError {
  return new FleetError({
    code: 'wrong_state',
    status: 409,
    message: `rollout ${id} waits for an approval, and a promotion alone gives none`,
    fix: `fleet rollout approve ${id}, by somebody else than its author; or fleet rollout promote ${id} --full`,
  });
}

function targetsBehind({ id }: RolloutRecord): FleetError {
  return new FleetError({
    code: 'targets_behind',
    status: 409,
    message: 'every wave is through, and a rollout does not succeed while tenants are behind',
    fix: `repair them and fleet rollout retry ${id}, or leave them: fleet rollout skip ${id} --target TENANT --reason TEXT`,
  });
}
