import { DatabaseError } from 'pg';
import { isUnreachable, SQLSTATE, sqlState } from '../../../platform/errors.ts';
import { isContention } from '../../releases/contention.ts';
import { migrationFailure } from '../../releases/failure.ts';
import { mayCauseByNames, type Failure, type LeftOut } from './left-out.ts';
import { isLeftOut, type Prepared } from './prepare.ts';
import type { Trial } from './trial.ts';

/** What a try has not shown, or how it ended; empty where everything went through. */
export interface Ending {
  /** What was not, or not to its end, tried in place. */
  reason?: string;
  /** The rollout would fail so. */
  error?: Error;
  /** Others hold what it needs. */
  busy?: boolean;
}

const ADVICE = 'rehearse it on a copy: --clone';

/**
 * Goes on behind what is left out, and ends with the first failure that it cannot be the cause of. One that it may be
 * the cause of proves nothing: that migration is taken back, and counts as left out for those behind it.
 */
export async function trySteps(trial: Trial, steps: readonly (Prepared | LeftOut)[]): Promise<Ending> {
  const left: LeftOut[] = [];
  const told = (): string => `${left.map(({ reason }) => reason).join(', ')}; ${ADVICE}`;
  let hasNewEnumValue = false;
  for (const step of steps) {
    if (isLeftOut(step)) {
      left.push(step);
      continue;
    }
    const revocable = left.length > 0 || hasNewEnumValue;
    const failure = await trial.run(step, revocable).then(() => undefined, asFailure);
    hasNewEnumValue ||= step.addsEnumValue;
    if (failure === undefined) continue;
    const doubt = doubtOf(failure, trial, step, left);
    if (doubt === undefined) {
      return { error: migrationFailure(failure.error, step.migration, trial.sqlStartsAt()) };
    }
    const { name: migration, upSql } = step.migration;
    left.push({ migration, reason: `${migration} ${doubt}`, mayCause: mayCauseByNames(upSql) });
    if (isOver(failure, trial)) return { reason: `${told()}, or give more time: --max-hold` };
    if (!revocable) break;
    await trial.stepBack();
  }
  return left.length === 0 ? {} : { reason: told() };
}

/** @throws the error, where it says nothing of the migration: a wait for a lock, a connection that was lost */
function asFailure(error: unknown): Failure & { error: unknown } {
  const state = sqlState(error);
  if (state === undefined || isContention(error) || isUnreachable(error)) throw error;
  const table = error instanceof DatabaseError ? error.table : undefined;
  return { error, state, table };
}

/** Why a failure says nothing of a rollout; undefined: a rollout would fail so. */
function doubtOf(
  failure: Failure,
  trial: Trial,
  { addsEnumValue }: Prepared,
  left: readonly LeftOut[],
): string | undefined {
  const { state } = failure;
  if (isOver(failure, trial)) {
    return `was ended after ${trial.maxHoldMs} ms, longer than a tenant may wait`;
  }
  if (state === SQLSTATE.unsafeNewEnumValueUsage && trial.steps.length > 0 && !addsEnumValue) {
    return 'uses an enum value that an earlier migration adds, and which is not yet committed';
  }
  const causes = left.filter(({ mayCause }) => mayCause(failure)).map(({ migration }) => migration);
  if (causes.length === 0) return undefined;
  return `may depend on ${causes.join(', ')}, as it failed without (SQLSTATE ${state})`;
}

function isOver({ state }: Failure, trial: Trial): boolean {
  return state === SQLSTATE.queryCanceled && trial.isOver();
}
