import { borne } from '../../../contract/budget.ts';
import type { Budget } from '../../../contract/rollout.ts';
import { SYSTEM_CALLER } from '../../access/caller.ts';
import { audit } from '../../audit/audit.ts';
import type { Transaction } from '../../registry/registry.ts';
import { targets } from './budget.ts';
import { nameFirstFailure, type StoredCause } from '../cause.ts';
import { ENGINE_ACTOR } from '../rollout.ts';
import { moveRollout, type RolloutRecord } from '../store.ts';
import { moveWave, type WaveRecord } from '../wave-store.ts';

type Why = Omit<StoredCause, 'actor'>;

/** The machine's stop: the rollout waits for a person, and says why. Does nothing where it is stopped already. */
export async function haltRollout(
  tx: Transaction,
  rollout: RolloutRecord,
  wave: Pick<WaveRecord, 'ordinal' | 'state' | 'name'> | undefined,
  why: Why,
): Promise<void> {
  const cause = { ...why, wave: wave?.name, actor: ENGINE_ACTOR };
  if (!(await moveRollout(tx, rollout, 'halt', cause))) return;
  if (wave !== undefined) await moveWave(tx, rollout.id, wave, 'fail');
  recordEngineAction(tx, rollout, 'rollout.halt', { wave: wave?.name, cause });
}

/** The machine does not know whether to go on (no data, a broken source), and leaves it to a person. */
export async function pauseByEngine(
  tx: Transaction,
  rollout: RolloutRecord,
  wave: Pick<WaveRecord, 'name'>,
  why: Why,
): Promise<void> {
  const cause = { ...why, wave: wave.name, actor: ENGINE_ACTOR };
  if (!(await moveRollout(tx, rollout, 'pause', cause))) return;
  recordEngineAction(tx, rollout, 'rollout.pause', { wave: wave.name, cause });
}

/** What the engine does by itself is in the audit log too. */
export function recordEngineAction(
  tx: Transaction,
  rollout: Pick<RolloutRecord, 'id' | 'state'>,
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

/**
 * More has failed than a budget bears; `excess` says it in words. The rollout halts at once, so that those in flight
 * may fail as well and are in no count here.
 */
export function overBudget(id: string, subject: string, excess: string, inFlight: number): Why {
  const others =
    inFlight === 0 ? '' : `; ${inFlight} more ${inFlight === 1 ? 'was' : 'were'} in flight at that moment`;
  return { code: 'budget_exceeded', message: `${subject}: ${excess}${others}`, fix: repair(id) };
}

/** Servers that do not answer are told apart from migrations that fail: they cost no failure budget. */
export async function haltUnreachable(
  tx: Transaction,
  rollout: RolloutRecord,
  wave: WaveRecord,
  unreachable: number,
): Promise<void> {
  const borne = describeBorne(wave.budget);
  await haltRollout(tx, rollout, wave, {
    code: 'servers_unreachable',
    message: `wave ${wave.name}: ${targets(unreachable)} unreachable${borne}`,
    first: await nameFirstFailure(tx, { rolloutId: rollout.id, wave: wave.ordinal }, 'unreachable'),
    fix: `bring the server back, then fleet rollout retry ${rollout.id}`,
  });
}

function describeBorne(budget: Budget): string {
  return budget.unreachable === undefined ? '' : `, its budget bears ${budget.unreachable}`;
}

export function bearsUnreachable(budget: Budget, tally: { unreachable: number; base: number }): boolean {
  return tally.unreachable <= borne(budget.unreachable, tally.base);
}

/** Every wave is through, but failures within the budgets have left tenants behind. */
export async function haltWithFailures(
  tx: Transaction,
  rollout: RolloutRecord,
  counts: { failed: number; unreachable: number },
): Promise<void> {
  await haltRollout(tx, rollout, undefined, {
    code: 'targets_behind',
    message: `every wave is through, but ${targets(counts.failed + counts.unreachable)} failed and stayed behind`,
    first: await nameFirstFailure(
      tx,
      { rolloutId: rollout.id, wave: null },
      counts.failed > 0 ? 'failed' : 'unreachable',
    ),
    fix:
      `${repair(rollout.id)}; to leave one behind: ` +
      `fleet rollout skip ${rollout.id} --target TENANT --reason TEXT`,
  });
}

function repair(id: string): string {
  return `repair what failed, then fleet rollout retry ${id}, or fleet rollout abort ${id}; each error: fleet rollout get ${id} -o wide`;
}
