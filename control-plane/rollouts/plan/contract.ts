import type { ContractBlockers } from '../../../contract/app.ts';
import { FleetError, type FieldError } from '../../../platform/errors.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { visibleRegions, type Caller } from '../../access/caller.ts';
import { blockersIn, contractBlockers, isBlocked } from '../../apps/contract.ts';
import type { Transaction } from '../../registry/registry.ts';
import { findRelease, listMigrations } from '../../releases/store.ts';
import { missingContractSteps } from './contract-store.ts';
import { haltRollout } from '../engine/halt.ts';
import { whileRunning, type Run } from '../engine/run.ts';
import type { RolloutRecord } from '../store.ts';
import type { WaveRecord } from '../wave-store.ts';

type Contracting = Pick<RolloutRecord, 'id' | 'release' | 'undoOf'>;

/**
 * Who keeps contract steps of the rollout, or of one of its waves, from running; undefined where it has none, and for
 * an undo, which takes them back.
 */
export async function blockersOf(
  db: Queryable,
  { id, release, undoOf }: Contracting,
  wave: number | null = null,
): Promise<ContractBlockers | undefined> {
  if (undoOf !== null) return undefined;
  const missing = await missingContractSteps(db, id, wave);
  if (missing.length === 0) return undefined;
  const migrations = await listMigrations(db, (await findRelease(db, release))?.headOrdinal);
  return contractBlockers(db, migrations, missing);
}

/** @throws FleetError 409 `contract_blocked`, naming app instances and tenants that the caller may see */
export async function refuseBlocked(tx: Transaction, rollout: Contracting, caller: Caller): Promise<void> {
  const blockers = await blockersOf(tx, rollout);
  if (blockers === undefined || !isBlocked(blockers)) return;
  throw new FleetError({
    code: 'contract_blocked',
    status: 409,
    message: inWords(blockers),
    fix: `${REPAIR}, then start it again`,
    errors: named(blockersIn(blockers, visibleRegions(caller))),
    retryable: true,
  });
}

/** Halts the rollout where the wave's contract steps may not run. Answers whether it did. */
export async function haltBlocked(
  tx: Transaction,
  rollout: RolloutRecord,
  wave: Pick<WaveRecord, 'ordinal' | 'name' | 'state'>,
): Promise<boolean> {
  const blockers = await blockersOf(tx, rollout, wave.ordinal);
  if (blockers === undefined || !isBlocked(blockers)) return false;
  // Not of the wave: nothing is wrong with its targets, and it goes on when this is mended.
  await haltRollout(tx, rollout, undefined, {
    code: 'contract_blocked',
    message: `wave ${wave.name} ${wave.state === 'pending' ? 'was not begun' : 'may not go on'}: ${inWords(blockers)}`,
    fix: `${REPAIR}, then fleet rollout retry ${rollout.id}`,
  });
  return true;
}

/** The same for waves that have begun. Only reads, unless one is blocked: it is asked every few seconds. */
export async function haltBlockedWaves(
  run: Run,
  rollout: RolloutRecord,
  waves: readonly WaveRecord[],
): Promise<boolean> {
  for (const wave of waves.filter(({ state }) => state === 'running' || state === 'failed')) {
    const blockers = await blockersOf(run.registry, rollout, wave.ordinal);
    if (blockers === undefined || !isBlocked(blockers)) continue;
    await whileRunning(run, rollout, (tx, now) => haltBlocked(tx, now, wave));
    return true;
  }
  return false;
}

const REPAIR = 'bring them along (docs/runbooks/contract-refused.md)';

function inWords({ steps, instances, tenants }: ContractBlockers): string {
  const behind = [
    ...(instances.length === 0 ? [] : [counted(instances.length, 'running app instance')]),
    ...(tenants.length === 0 ? [] : [counted(tenants.length, 'tenant')]),
  ];
  const are = instances.length + tenants.length === 1 ? 'is' : 'are';
  return `contract ${steps.length === 1 ? 'step' : 'steps'} ${steps.join(', ')} must wait: ${behind.join(' and ')} ${are} behind`;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** More are no help in an error; the plan shows all. */
const NAMED_MAX = 20;

function named({ instances, tenants, elsewhere }: ContractBlockers): FieldError[] {
  const all = [
    ...instances.map(({ instance, region, appVersion, lastSeen, reason }) => ({
      path: `app ${region}/${instance}`,
      message: `version ${appVersion}, last seen ${lastSeen}: ${reason}`,
    })),
    ...tenants.map(({ tenant, region, state, schemaVersion, needs }) => ({
      path: `tenant ${tenant}`,
      message: `${state} in ${region}, at ${schemaVersion ?? 'no migration'}: lacks ${needs}`,
    })),
  ];
  const more = Math.max(0, all.length - NAMED_MAX) + elsewhere;
  const rest =
    more === 0 ? [] : [{ path: 'more', message: `${more} more, or in regions that you may not see` }];
  return [...all.slice(0, NAMED_MAX), ...rest];
}
