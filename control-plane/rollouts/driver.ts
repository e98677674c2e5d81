import { isRetryable, summarizeError } from '../../platform/errors.ts';
import { withLogContext, type Logger } from '../../platform/logging.ts';
import { wake, type Driver } from '../operations/driver.ts';
import { LeaseLostError, type Lease } from '../operations/lease.ts';
import type { Registry, Transaction } from '../registry/registry.ts';
import { findRelease, listMigrations } from '../releases/store.ts';
import type { ServerAccess } from '../servers/access.ts';
import { finishRollout } from './finish.ts';
import { haltOverBudget, haltRollout, haltUnreachable } from './halt.ts';
import { allowedFailures } from './plan.ts';
import { settleUnknown } from './settle.ts';
import { InterruptedError } from './slots.ts';
import {
  findRollout,
  listWaves,
  lockRollout,
  moveWave,
  OPEN_ROLLOUTS_SQL,
  type RolloutRecord,
  type WaveRecord,
} from './store.ts';
import { DEFAULT_RETRY, type RetryPolicy } from './target.ts';
import { countTargets, orphanTargets } from './target-store.ts';
import { budgetBase, runWave, type Run } from './wave.ts';

/**
 * Carries one rollout, wave by wave:
 *
 *   first wave that has not passed:
 *     pending ─▶ running ─▶ its targets ─▶ over budget?  halted
 *                                          unreachable?  halted
 *                                          else ─▶ baking until a stored instant ─▶ passed ─▶ next wave
 *   none left:  tenants behind that are not in the list join the last wave; none is behind ─▶ succeeded
 *
 * Whatever an older owner had in flight is `unknown` from the start of the drive on: its sessions are ended
 * and its databases asked before anything is applied there again.
 */
export interface RolloutDriverDeps {
  registry: Registry;
  servers: ServerAccess;
  logger: Logger;
  /** Shorter in tests. */
  retry?: RetryPolicy;
}

export function createRolloutDriver(deps: RolloutDriverDeps): Driver {
  return {
    kind: 'rollout',
    openIdsSql: OPEN_ROLLOUTS_SQL,
    drive: (id, lease) => withLogContext({ rolloutId: id }, () => drive(deps, id, lease)),
  };
}

async function drive(deps: RolloutDriverDeps, id: string, lease: Lease): Promise<void> {
  const rollout = await findRollout(deps.registry, id);
  if (rollout === undefined) return;
  try {
    const run = await prepare(deps, rollout, lease);
    while (!lease.stopping.aborted && (await advance(run)) === 'more');
  } catch (error) {
    if (error instanceof LeaseLostError || lease.signal.aborted) {
      deps.logger.info('another worker has taken over the rollout', { epoch: lease.epoch });
      return;
    }
    // What may pass by itself is tried again by the next owner; anything else would fail for ever.
    if (isRetryable(error) || error instanceof InterruptedError) throw error;
    deps.logger.error('the rollout cannot go on', { error });
    await haltBroken(lease, id, error);
  }
}

async function prepare(deps: RolloutDriverDeps, rollout: RolloutRecord, lease: Lease): Promise<Run> {
  const orphans = await lease.transaction((tx) => orphanTargets(tx, rollout.id, lease.epoch));
  if (orphans > 0) deps.logger.warn('targets of a lost owner are checked', { targets: orphans });
  const release = await findRelease(deps.registry, rollout.release);
  return {
    registry: deps.registry,
    servers: deps.servers,
    logger: deps.logger,
    retry: deps.retry ?? DEFAULT_RETRY,
    rolloutId: rollout.id,
    lease,
    release: rollout.release,
    migrations: await listMigrations(deps.registry, release?.headOrdinal ?? 0),
    applicationName: `fleet:${rollout.id}:${lease.epoch}`,
  };
}

/** One step of the rollout. `rest`: nothing more to do before somebody or some instant wakes it. */
async function advance(run: Run): Promise<'more' | 'rest'> {
  const rollout = await findRollout(run.registry, run.rolloutId);
  if (rollout === undefined) return 'rest';
  if (rollout.state !== 'running') {
    await settleUnknown(run, rollout);
    return 'rest';
  }
  const waves = await listWaves(run.registry, run.rolloutId);
  const wave = waves.find((candidate) => candidate.state !== 'passed');
  if (wave === undefined) {
    await whileRunning(run, (tx, current) => finishRollout(tx, run, current, waves));
    return 'more';
  }
  if (wave.state === 'running') {
    await runWave(run, wave);
    if (!run.lease.stopping.aborted)
      await whileRunning(run, (tx, current) => endWave(tx, run, current, wave));
    return 'more';
  }
  if (wave.state === 'baking' && wave.asleep) {
    await run.lease.transaction((tx) => wake(tx, 'rollout', run.rolloutId, wave.bakeUntil ?? undefined));
    return 'rest';
  }
  const event = wave.state === 'pending' ? 'start' : wave.state === 'baking' ? 'pass' : 'reopen';
  await whileRunning(run, (tx) => moveWave(tx, run.rolloutId, wave, event));
  return 'more';
}

/** A fenced transaction on the locked rollout; does nothing when a person has stopped it meanwhile. */
async function whileRunning(
  run: Run,
  work: (tx: Transaction, rollout: RolloutRecord) => Promise<unknown>,
): Promise<void> {
  await run.lease.transaction(async (tx) => {
    const rollout = await lockRollout(tx, run.rolloutId);
    if (rollout?.state === 'running') await work(tx, rollout);
  });
}

/** Decides what becomes of a wave in which nothing is in flight. */
async function endWave(tx: Transaction, run: Run, rollout: RolloutRecord, wave: WaveRecord): Promise<void> {
  const counts = await countTargets(tx, run.rolloutId, wave.ordinal);
  const allowed = allowedFailures(wave.budget, budgetBase(counts));
  if (counts.failed > allowed) return haltOverBudget(tx, rollout, wave, { failed: counts.failed, allowed });
  if (counts.unreachable > 0) return haltUnreachable(tx, rollout, wave, counts);
  // This owner carries nothing any more, so that only a new epoch can find out what became of these.
  if (counts.running > 0)
    throw new InterruptedError(`${counts.running} targets of wave ${wave.name} run in nobody's hands`);
  // Resumed or retried in the moment in between: the next round runs it.
  if (counts.pending + counts.unknown > 0) return;
  const bakes = wave.bakeSeconds > 0 && wave.bakeUntil === null && budgetBase(counts) > 0;
  await moveWave(tx, run.rolloutId, wave, bakes ? 'bake' : 'pass');
}

async function haltBroken(lease: Lease, id: string, error: unknown): Promise<void> {
  const { code, message } = summarizeError(error);
  await lease.transaction(async (tx) => {
    const rollout = await lockRollout(tx, id);
    if (rollout === undefined) return;
    const why = { code: 'engine_error', message: `the rollout cannot go on: ${code}: ${message}` };
    await haltRollout(tx, rollout, undefined, { ...why, fix: `fleet rollout retry ${id} after the repair` });
  });
}
