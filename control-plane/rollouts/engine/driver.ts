import type { RolloutSpec } from '../../../contract/rollout.ts';
import { isRetryable, summarizeError } from '../../../platform/errors.ts';
import { withLogContext, type Logger } from '../../../platform/logging.ts';
import { openGuard, type GuardSchema } from '../../drift/guard.ts';
import type { Driver } from '../../operations/driver.ts';
import { LeaseLostError, type Lease } from '../../operations/lease.ts';
import type { Registry } from '../../registry/registry.ts';
import { findRelease, listMigrations } from '../../releases/store.ts';
import type { ServerAccess } from '../../servers/access.ts';
import { watchBackfill, type BackfillSettings } from '../backfills/watch.ts';
import { carryRollout } from './carry.ts';
import { createCalendar } from '../plan/calendar.ts';
import { openGates } from '../gates/run.ts';
import type { WaveGates, OpenGates } from './gating.ts';
import { haltRollout } from './halt.ts';
import { startNextInQueue } from './queue.ts';
import { askTarget, settleUnknown, type AskTarget } from './settle.ts';
import { openSteps } from './steps.ts';
import { DEFAULT_OUTAGE, type OutagePolicy, type Run } from './run.ts';
import { InterruptedError } from './slots.ts';

import { findRollout, lockRollout, OPEN_ROLLOUTS_SQL, type RolloutRecord } from '../store.ts';
import { DEFAULT_RETRY, migrateTarget, type RetryPolicy, type TargetRun } from './target.ts';
import { orphanTargets, type ClaimedTarget, type TargetResult } from '../target-store.ts';
import { readUndo } from './undo-end.ts';
import { listWaves, type WaveRecord } from '../wave-store.ts';

/**
 * Carries one rollout, whatever waves of it run side by side (carry.ts, steer.ts). There is one owner at a time: its
 * lease. Whatever an older owner had in flight is `unknown` at the start of the drive: its sessions are ended and its
 * databases asked before anything else happens.
 */
export interface RolloutDriverDeps {
  registry: Registry;
  servers: ServerAccess;
  logger: Logger;
  /** Shorter in tests. */
  retry?: RetryPolicy;
  outage?: OutagePolicy;
  /** Other gates than the spec's, in tests. */
  openGates?: OpenGatesFor;
  /** Another judgement of schemas than by their migrations, in tests whose databases are not born from a template. */
  guard?: GuardSchema;
  /** Another effect than migrating databases, in tests. */
  migrate?: MigrateTarget;
  /** Another way to find out what became of a target than asking its database, in tests. */
  ask?: AskTarget;
  /** Other limits and waits of backfills, in tests. */
  backfills?: BackfillSettings;
}

export type OpenGatesFor = (
  owner: { rolloutId: string; spec: RolloutSpec; lease: Lease },
  wave: WaveRecord,
) => WaveGates | undefined;

export type MigrateTarget = (
  run: TargetRun,
  target: ClaimedTarget,
  signal: AbortSignal,
) => Promise<TargetResult | undefined>;

export function createRolloutDriver(deps: RolloutDriverDeps): Driver {
  return {
    kind: 'rollout',
    openIdsSql: OPEN_ROLLOUTS_SQL,
    drive: (id, lease) => withLogContext({ rolloutId: id }, () => drive(deps, id, lease)),
  };
}

async function drive(deps: RolloutDriverDeps, id: string, lease: Lease): Promise<void> {
  try {
    if (!(await startNextInQueue(deps.registry, lease, id))) return;
    const rollout = await findRollout(deps.registry, id);
    if (rollout === undefined || rollout.state === 'planned') return;
    const waves = await listWaves(deps.registry, id);
    const parallel = Math.max(1, ...waves.map((wave) => wave.parallel));
    const run = await prepare(deps, rollout, lease);
    await settleUnknown(run, rollout);
    await carryRollout(run, parallel);
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
  const migrate = deps.migrate ?? migrateTarget;
  const run: Run = {
    registry: deps.registry,
    servers: deps.servers,
    logger: deps.logger,
    retry: deps.retry ?? DEFAULT_RETRY,
    guard: deps.guard ?? openGuard(deps),
    outage: deps.outage ?? DEFAULT_OUTAGE,
    rolloutId: rollout.id,
    spec: rollout.spec,
    calendar: createCalendar(rollout.spec.calendar ?? []),
    lease,
    release: rollout.release,
    migrations: await listMigrations(deps.registry, release?.headOrdinal ?? 0),
    applicationName: `fleet:${rollout.id}:${lease.epoch}`,
    isStopping: () => lease.stopping.aborted,
    isAborted: () => false,
    openGates: openOnce((wave) => {
      const owner = { rolloutId: rollout.id, spec: rollout.spec, lease };
      return deps.openGates === undefined ? openGates(deps, owner, wave) : deps.openGates(owner, wave);
    }),
    migrate: (target, signal) => migrate(run, target, signal),
    isWanted: () => false,
    ask: deps.ask ?? askTarget,
    watchBackfill: (target) =>
      watchBackfill(
        {
          ...{ ...deps, ...deps.backfills, rolloutId: rollout.id, lease },
          isStopping: () => run.isStopping(),
          isWanted: () => run.isWanted(target),
        },
        target,
      ),
    steps: openSteps({ ...deps, rolloutId: rollout.id, lease }),
    undo: await readUndo(deps.registry, rollout),
  };
  return run;
}

/** A wave's gates keep what they have measured: one of each for the whole drive. */
function openOnce(open: OpenGates): OpenGates {
  const opened = new Map<number, WaveGates | undefined>();
  return (wave) => {
    if (!opened.has(wave.ordinal)) opened.set(wave.ordinal, open(wave));
    return opened.get(wave.ordinal);
  };
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
