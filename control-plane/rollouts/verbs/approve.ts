import { FleetError } from '../../../platform/errors.ts';
import type { Asker } from '../../access/caller.ts';
import { auditAsked } from '../../audit/audit.ts';
import { wake } from '../../operations/driver.ts';
import type { Transaction } from '../../registry/registry.ts';
import { refuseChangedSincePlan } from '../plan/edited.ts';
import { approvePlan, moveRollout, touchRollout, type RolloutRecord } from '../store.ts';
import { admit, requireWave } from './admit.ts';
import { approveWaves, listWaves, type WaveRecord } from '../wave-store.ts';

/**
 * Another person's word that the plan may run, or that the waves behind one that has passed may begin. Said twice it
 * is the same as once.
 * @throws FleetError 403 `self_approval`, 409 `nothing_to_approve`, 404 `wave_not_found`, 409 `migration_edited`
 */
export async function approveRollout(
  tx: Transaction,
  id: string,
  asker: Asker & { wave?: string | undefined },
): Promise<void> {
  const rollout = await admit(tx, id, asker);
  const ofPlan =
    rollout.state === 'awaiting_approval' && rollout.startedAt === null && asker.wave === undefined;
  const waves = ofPlan ? [] : await wavesToApprove(tx, rollout, asker.wave);
  if (!ofPlan && waves.length === 0) return;
  requireOther(rollout, asker);
  if (ofPlan) await refuseChangedSincePlan(tx, rollout, asker.caller);
  const actor = asker.caller.name;
  if (ofPlan) await approvePlan(tx, id, actor);
  await approveWaves(
    tx,
    id,
    waves.map((wave) => wave.ordinal),
    actor,
  );
  auditAsked(tx, asker, {
    action: 'rollout.approve',
    resource: `rollout:${id}`,
    before: { state: rollout.state },
    after: ofPlan ? { plan: true } : { waves: waves.map((wave) => wave.name) },
  });
  if (rollout.state === 'awaiting_approval') await moveRollout(tx, rollout, 'approve', null);
  else await touchRollout(tx, id);
  await wake(tx, 'rollout', id);
}

/** Empty when all that could be approved is. */
async function wavesToApprove(
  tx: Transaction,
  rollout: RolloutRecord,
  name: string | undefined,
): Promise<WaveRecord[]> {
  if (name !== undefined) await requireWave(tx, rollout.id, name);
  const waves = await listWaves(tx, rollout.id);
  const asked = waves.filter((wave) => wave.approve && (name === undefined || wave.name === name));
  const waiting = asked.filter((wave) => wave.state === 'passed' && wave.approvedAt === null);
  const done = rollout.approvedAt !== null || asked.some((wave) => wave.approvedAt !== null);
  if (rollout.finishedAt === null && (waiting.length > 0 || done)) return waiting;
  const what = name === undefined ? `rollout ${rollout.id}` : `wave ${name}`;
  throw new FleetError({
    code: 'nothing_to_approve',
    status: 409,
    message: `${what} waits for no approval now`,
    fix: `fleet rollout get ${rollout.id}; a wave is approved when it has passed its bake and gates`,
  });
}

/**
 * Four eyes: the word of the plan's author does not count.
 * @throws FleetError 403 `self_approval`
 */
export function requireOther(rollout: RolloutRecord, { caller }: Asker): void {
  const same =
    rollout.authorId === null ? rollout.author === caller.name : rollout.authorId === caller.principalId;
  if (!same) return;
  throw new FleetError({
    code: 'self_approval',
    status: 403,
    message: `${caller.name} has planned this rollout, and nobody approves their own`,
    fix: 'have somebody else approve it, with a key of their own',
  });
}
