import type { Transaction } from '../../registry/registry.ts';
import { setCurrentRelease } from '../../releases/store.ts';
import { fleetMembers, lockMembership } from '../../tenants/store.ts';
import { haltRollout, haltWithFailures, recordEngineAction } from './halt.ts';
import { isLive, planTarget } from '../plan/plan.ts';
import type { Run } from './run.ts';
import { moveRollout, type RolloutRecord } from '../store.ts';
import { countTargets, insertTargets } from '../target-store.ts';
import { finishUndo } from './undo-end.ts';
import { rememberPreviousRelease } from '../verbs/undo-store.ts';
import { leftBehind } from './wait-store.ts';
import { reopenWaves, type WaveRecord } from '../wave-store.ts';

/**
 * Every wave has passed: what now? Failures within the budgets still leave tenants behind, so the rollout halts.
 * Tenants that came in meanwhile join the last wave; those that a person has left behind stay so. When no other live
 * tenant is behind, the rollout has succeeded and new tenants are born at its release, in one transaction.
 */
export async function finishRollout(
  tx: Transaction,
  run: Run,
  rollout: RolloutRecord,
  waves: readonly WaveRecord[],
): Promise<void> {
  if (rollout.undoOf !== null) return finishUndo(tx, rollout, rollout.undoOf);
  const counts = await countTargets(tx, rollout.id, null);
  if (counts.failed + counts.unreachable > 0) return haltWithFailures(tx, rollout, counts);
  // From here to the commit no tenant can come in at the old release.
  await lockMembership(tx, 'exclusive');
  const head = run.migrations.length;
  const behind = await fleetMembers(tx, { behindOrdinal: head });
  const left = await leftBehind(tx);
  const joining = behind.filter((member) => isLive(member) && !left.has(member.databaseId));
  if (joining.length > 0) return join(tx, run, rollout, { joining, wave: waves.length - 1 });
  await moveRollout(tx, rollout, 'succeed', null);
  await rememberPreviousRelease(tx, rollout.id);
  await setCurrentRelease(tx, rollout.release);
  recordEngineAction(tx, rollout, 'rollout.succeed', { release: rollout.release });
}

async function join(
  tx: Transaction,
  run: Run,
  rollout: RolloutRecord,
  late: { joining: Awaited<ReturnType<typeof fleetMembers>>; wave: number },
): Promise<void> {
  const input = { migrations: run.migrations, calendar: run.calendar, now: rollout.now };
  const targets = late.joining.map((member) => ({ ...planTarget(member, input), wave: late.wave }));
  const joined = await insertTargets(tx, rollout.id, targets);
  run.logger.info('tenants joined the last wave', { tenants: joined });
  if (joined > 0) return reopenWaves(tx, rollout.id, false);
  const [first] = late.joining;
  await haltRollout(tx, rollout, undefined, {
    code: 'targets_behind',
    message: `${late.joining.length} tenants are behind and cannot be run again`,
    first: first === undefined ? undefined : { tenant: first.slug, region: first.region },
    fix: `fleet rollout abort ${rollout.id}, and start it anew`,
  });
}
