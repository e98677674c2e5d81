import { FleetError, isRetryable, summarizeError } from '../../../platform/errors.ts';
import { sleep } from '../../../platform/wait.ts';
import type { Asker } from '../../access/caller.ts';
import { audit } from '../../audit/audit.ts';
import type { Driver } from '../../operations/driver.ts';
import { LeaseLostError, type Lease } from '../../operations/lease.ts';
import type { RotationDeps } from '../deps.ts';
import { startRotateSecret } from '../start.ts';
import { nextStep, verdictOf, type NextStep, type WaitingTarget } from './plan.ts';
import { transitionRun, type RunRecord } from './run.ts';
import { findRun, moveRun, OPEN_RUNS_SQL } from './run-store.ts';
import {
  findMigrating,
  findStanding,
  moveTarget,
  settleTargets,
  skipPending,
  type TargetMove,
} from './target-store.ts';

/** Kind of the resource: one rotation run. */
export const ROTATION = 'rotation';

/** Times of a run; tests take shorter ones. */
export interface RunTimes {
  /** Between two steps. */
  stepMs: number;
  /** Until a deferred target is looked at again. */
  againMs: number;
  /** How long a run that was asked for goes on for the sake of deferred targets alone. */
  patienceMs: number;
}

/**
 * 200 ms: a rotation takes a few hundred. A migration is over in seconds, apps take over a credential in one or two:
 * what is deferred is looked at every 15 s. What is not to be had within five minutes is not worth a person's waiting.
 */
const TIMES: RunTimes = { stepMs: 200, againMs: 15_000, patienceMs: 300_000 };

/**
 * Carries a rotation run: starts the operation `secret.rotate` for one tenant after the other, a few at a time and with
 * pauses. Everything that it knows is in the tables, and a target is begun in the transaction that starts its operation:
 * the next owner of a run goes on where the last has stopped, and rotates nobody twice.
 */
export function createRotationDriver(deps: RotationDeps, times: Partial<RunTimes> = {}): Driver {
  return {
    kind: ROTATION,
    openIdsSql: OPEN_RUNS_SQL,
    drive: (id, lease) => drive({ ...deps, times: { ...TIMES, ...times } }, id, lease),
  };
}

type Deps = RotationDeps & { times: RunTimes };

async function drive(deps: Deps, id: string, lease: Lease): Promise<void> {
  const run = await findRun(deps.registry, id);
  if (run === undefined) return;
  // One that ended by an error left what it had begun.
  if (run.finishedAt !== null) return lease.transaction((tx) => settleTargets(tx, id));
  if (!(await lease.transaction((tx) => moveRun(tx, run, 'start')))) return;
  try {
    while (!lease.stopping.aborted) {
      if (await isOverAfter(deps, id, lease)) return;
      await sleep(deps.times.stepMs, lease.stopping);
    }
  } catch (error) {
    // What may pass by itself is tried again by the next owner; anything else would fail for ever.
    if (error instanceof LeaseLostError || lease.signal.aborted || isRetryable(error)) throw error;
    deps.logger.error('the rotation run cannot go on', { run: id, error });
    await end(
      { ...run, state: 'running' },
      { kind: 'end', event: 'fail', error: summarizeError(error) },
      lease,
    );
  }
}

/** One step. */
async function isOverAfter(deps: Deps, id: string, lease: Lease): Promise<boolean> {
  const { run, step } = await lease.transaction(async (tx) => {
    await settleTargets(tx, id);
    const present = await findRun(tx, id);
    if (present === undefined) throw new Error(`rotation run ${id} has vanished`);
    // By the policy the next run takes up what was deferred.
    const patienceMs = present.scheduled ? 0 : deps.times.patienceMs;
    return { run: present, step: nextStep(await findStanding(tx, present), patienceMs) };
  });
  if (step.kind === 'end') {
    await end(run, step, lease);
    return true;
  }
  if (step.kind === 'begin') {
    for (const target of step.targets) await begin(deps, run, target, lease);
  }
  return false;
}

/** Starts one target's operation, or says why not. */
async function begin(deps: Deps, run: RunRecord, target: WaitingTarget, lease: Lease): Promise<void> {
  const of = { runId: run.id, tenantId: target.tenantId };
  const note = (move: TargetMove): Promise<void> => lease.transaction((tx) => moveTarget(tx, of, move));
  const { againMs } = deps.times;
  const verdict = verdictOf(target.tenantState);
  if (verdict.may === 'skip') return note({ event: 'skip', reason: verdict.reason });
  if (verdict.may === 'defer') {
    return note({ event: 'defer', reason: verdict.reason, ...(verdict.again ? { againMs } : {}) });
  }
  const migrating = await findMigrating(deps.registry, target.tenantId);
  if (migrating !== undefined) {
    return note({ event: 'defer', reason: `rollout ${migrating} is migrating it`, againMs });
  }
  const asker: Asker = { ...run, reason: run.reason ?? undefined };
  try {
    await lease.transaction(async (tx) => {
      const { operationId } = await startRotateSecret(tx, target.tenantId, { now: run.now }, asker);
      await moveTarget(tx, of, { event: 'start', operationId });
    });
  } catch (error) {
    if (!(error instanceof FleetError)) throw error;
    // Refused as it stands now, by its state or by what is under way.
    if (error.status === REFUSED) await note({ event: 'defer', reason: error.message, againMs });
    else await note({ event: 'fail', error: summarizeError(error) });
  }
}

/** HTTP's 409: in conflict with the present state. */
const REFUSED = 409;

async function end(
  run: RunRecord,
  { event, error }: Extract<NextStep, { kind: 'end' }>,
  lease: Lease,
): Promise<void> {
  await lease.transaction(async (tx) => {
    await skipPending(tx, run.id, error?.message ?? 'the run was over');
    if (!(await moveRun(tx, run, event, error))) return;
    audit(tx, {
      actor: run.caller.name,
      actorRole: run.caller.role,
      action: `rotation.${transitionRun(run.state, event)}`,
      resource: `rotation:${run.id}`,
      ...(error === null ? {} : { after: { error } }),
      requestId: run.requestId,
    });
  });
}
