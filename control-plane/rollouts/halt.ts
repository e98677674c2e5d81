import { audit } from '../audit/audit.ts';
import { SYSTEM_CALLER } from '../access/caller.ts';
import type { Transaction } from '../registry/registry.ts';
import { nameFirstFailure, type StoredCause } from './cause.ts';
import { ENGINE_ACTOR } from './rollout.ts';
import { moveRollout, moveWave, type RolloutRecord, type WaveRecord } from './store.ts';
import type { Counts } from './target-store.ts';

/** The machine's stop: the rollout waits for a person, and says why. Does nothing where it is stopped already. */
export async function haltRollout(
  tx: Transaction,
  rollout: RolloutRecord,
  wave: WaveRecord | undefined,
  why: Omit<StoredCause, 'actor'>,
): Promise<void> {
  const cause = { ...why, actor: ENGINE_ACTOR };
  if (!(await moveRollout(tx, rollout, 'halt', cause))) return;
  if (wave !== undefined) await moveWave(tx, rollout.id, wave, 'fail');
  recordEngineAction(tx, rollout, 'rollout.halt', { wave: wave?.name, cause });
}

/** What the engine does by itself is in the audit log too. */
export function recordEngineAction(
  tx: Transaction,
  rollout: RolloutRecord,
  action: string,
  after: object,
): void {
  audit(tx, {
    actor: ENGINE_ACTOR,
    actorRole: SYSTEM_CALLER.role,
    action,
    resource: `rollout:${rollout.id}`,
    before: { state: rollout.state },
    after,
  });
}

/** More targets of the wave have failed than its budget bears. */
export async function haltOverBudget(
  tx: Transaction,
  rollout: RolloutRecord,
  wave: WaveRecord,
  numbers: { failed: number; allowed: number },
): Promise<void> {
  await haltRollout(tx, rollout, wave, {
    code: 'budget_exceeded',
    message: `wave ${wave.name}: ${targets(numbers.failed)} failed, its budget bears ${numbers.allowed}`,
    fix: repair(rollout.id),
  });
}

/** Servers that do not answer are told apart from migrations that fail: they cost no budget. */
export async function haltUnreachable(
  tx: Transaction,
  rollout: RolloutRecord,
  wave: WaveRecord,
  counts: Counts,
): Promise<void> {
  const untried = counts.pending === 0 ? '' : `, ${counts.pending} more not tried`;
  await haltRollout(tx, rollout, wave, {
    code: 'servers_unreachable',
    message: `wave ${wave.name}: ${targets(counts.unreachable)} unreachable${untried}`,
    first: await nameFirstFailure(tx, rollout.id, 'unreachable'),
    fix: `bring the server back, then fleet rollout retry ${rollout.id}`,
  });
}

/** Every wave is through, but failures within the budgets have left tenants behind. */
export async function haltWithFailures(
  tx: Transaction,
  rollout: RolloutRecord,
  counts: Counts,
): Promise<void> {
  await haltRollout(tx, rollout, undefined, {
    code: 'targets_behind',
    message: `every wave is through, but ${targets(counts.failed + counts.unreachable)} failed and stayed behind`,
    first: await nameFirstFailure(tx, rollout.id, counts.failed > 0 ? 'failed' : 'unreachable'),
    fix: repair(rollout.id),
  });
}

function targets(count: number): string {
  return count === 1 ? '1 target' : `${count} targets`;
}

function repair(id: string): string {
  return `fleet rollout get ${id} shows each error; repair, then fleet rollout retry ${id}, or fleet rollout abort ${id}`;
}
