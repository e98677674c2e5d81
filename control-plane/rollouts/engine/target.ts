import pRetry from 'p-retry';
import {
  FleetError,
  isRetryable,
  isUnreachable,
  SQLSTATE,
  summarizeError,
  sqlState,
} from '../../../platform/errors.ts';
import type { ErrorSummary } from '../../../platform/errors.ts';
import { withLogContext } from '../../../platform/logging.ts';
import type { GuardSchema } from '../../drift/guard.ts';
import type { Registry } from '../../registry/registry.ts';
import { applyMigrations } from '../../releases/apply.ts';
import { BackfillHeldError, BackfillStoppedError } from '../../releases/backfill-run.ts';
import { findBlockers } from '../../releases/blockers.ts';
import { isContention } from '../../releases/contention.ts';
import { readReached } from '../../releases/inspect.ts';
import type { Migration } from '../../releases/release.ts';
import { revertMigrations } from '../../releases/revert.ts';
import type { SchemaStamp } from '../../releases/stamp.ts';
import { totals, type MigrationStatistics } from '../../releases/statistics.ts';
import type { ServerAccess } from '../../servers/access.ts';
import type { BackfillWatch } from '../backfills/watch.ts';
import type { StepNotes } from './steps.ts';
import { isGone, type ClaimedTarget, type Reached, type TargetResult } from '../target-store.ts';

/** What one run on one database needs. */
export interface TargetRun {
  registry: Registry;
  servers: ServerAccess;
  release: string;
  /** The whole list up to the release's head. */
  migrations: Migration[];
  applicationName: string;
  retry: RetryPolicy;
  /** Refuses databases whose schema is not what their migrations make. */
  guard: GuardSchema;
  /** Given where the rollout takes back what another one has done. */
  undo?: Undo | undefined;
  /** Whether the rollout stands still, or the process has to stop: long work ends at the next place where it can. */
  isStopping: () => boolean;
  /** Whether the rollout was aborted: nothing is tried again. */
  isAborted: () => boolean;
  /** What holds and stops the backfills of a target, and keeps their progress. */
  watchBackfill?: ((target: ClaimedTarget) => BackfillWatch) | undefined;
  /** Tells watchers which migration a target is at. */
  steps?: StepNotes | undefined;
}

/** What an undo takes back. */
export interface Undo {
  /** The rollout whose migrations go. */
  of: string;
  /** By database, the migration that it had last before that rollout; null for none. */
  downTo: ReadonlyMap<string, string | null>;
}

/** Repeats of a try that failed for a passing reason, with jittered, doubling pauses. */
export interface RetryPolicy {
  retries: number;
  /** Milliseconds before the first repeat; with jitter up to twice as long. */
  firstDelayMs: number;
  maxDelayMs: number;
}

/**
 * Four repeats over about 11 s on average outlast a server's restart or fail-over; a longer outage should stop the
 * rollout and be seen, not be waited out target by target.
 */
export const DEFAULT_RETRY: RetryPolicy = { retries: 4, firstDelayMs: 500, maxDelayMs: 8_000 };

/**
 * Brings one database to the release's head, or back to where it was before. Answers undefined when `signal` ended it: then nobody knows the
 * outcome, and the next owner asks the database. Never throws for what is wrong with the target.
 */
export function migrateTarget(
  run: TargetRun,
  target: ClaimedTarget,
  signal: AbortSignal,
): Promise<TargetResult | undefined> {
  return withLogContext({ tenant: target.slug }, () => migrate(run, target, signal));
}

async function migrate(
  run: TargetRun,
  target: ClaimedTarget,
  signal: AbortSignal,
): Promise<TargetResult | undefined> {
  const startedAt = performance.now();
  const steps: MigrationStatistics[] = [];
  const trace: Trace = { steps, lost: false };
  const result = (
    fields: Pick<TargetResult, 'state' | 'reached' | 'schemaStamp' | 'error' | 'reason'>,
  ): TargetResult => ({
    databaseId: target.databaseId,
    serverId: target.serverId,
    durationMs: Math.round(performance.now() - startedAt),
    ...totals(steps),
    applied: steps,
    ...fields,
  });
  try {
    const { schemaVersion, stamp } = await carryWithRetry(run, target, signal, trace);
    const reached = { schemaVersion };
    return result({ state: 'verified', reached, schemaStamp: stamp, error: null, reason: null });
  } catch (error) {
    if (signal.aborted) return undefined;
    // A registry that cannot say so has not seen it go: the target's own failure stands.
    if (await isGone(run.registry, target.databaseId).catch(() => false)) {
      return result({ state: 'skipped', error: null, reason: 'deleted' });
    }
    const reached = await findReached(run, target, { trace, error, signal });
    if (error instanceof BackfillStoppedError) {
      return result({ state: 'stopped', reached, error: null, reason: null });
    }
    if (error instanceof BackfillHeldError) {
      const held = result({ state: 'held', reached, error: null, reason: error.reason });
      return { ...held, waitMs: error.againMs };
    }
    if (run.isAborted() && wasCancelled(error)) {
      return result({ state: 'skipped', reached, error: null, reason: 'aborted' });
    }
    const state = isServerLost(error) ? 'unreachable' : 'failed';
    return result({ state, reached, error: describe(error), reason: null });
  } finally {
    run.steps?.at(target.databaseId, undefined);
  }
}

/** What comes after a migration: the one behind it, or, where they are taken back, the one before it. */
function nextStep(
  { migrations, undo }: Pick<TargetRun, 'migrations' | 'undo'>,
  name: string,
): string | undefined {
  const index = migrations.findIndex((migration) => migration.name === name);
  return migrations[undo === undefined ? index + 1 : index - 1]?.name;
}

/** What a run has done to its database, as far as it knows. */
interface Trace {
  steps: MigrationStatistics[];
  /** The connection was lost in the middle of a migration: nobody knows the outcome of that one. */
  lost: boolean;
}

/**
 * How far a database is whose target did not come to its end: what it says itself, or, where it cannot be asked, what
 * it has for sure. Who plans next and who undoes go by it, so that it may be too little and never too much.
 */
async function findReached(
  run: TargetRun,
  target: ClaimedTarget,
  { trace, error, signal }: { trace: Trace; error: unknown; signal: AbortSignal },
): Promise<Reached | undefined> {
  const { ownerRole, serverId } = target;
  // What stopped by itself has stopped between two steps.
  const stopped = error instanceof BackfillStoppedError || error instanceof BackfillHeldError;
  if (stopped || isServerLost(error)) return sureOf(run, target, trace);
  try {
    const address = await run.servers.migrator(serverId, target);
    const request = { ownerRole, applicationName: run.applicationName, signal };
    return await readReached(address, request);
  } catch {
    return sureOf(run, target, trace);
  }
}

/** What is there whatever became of a migration whose outcome nobody knows; undefined: what the registry has. */
export function sureOf(
  { undo, migrations }: Pick<TargetRun, 'undo' | 'migrations'>,
  { databaseId }: Pick<ClaimedTarget, 'databaseId'>,
  { steps, lost }: { steps: readonly Pick<MigrationStatistics, 'name'>[]; lost: boolean },
): Reached | undefined {
  if (undo !== undefined && lost) return { schemaVersion: undo.downTo.get(databaseId) ?? null };
  const last = steps.at(-1)?.name;
  if (last === undefined) return undefined;
  return { schemaVersion: undo === undefined ? last : (nextStep({ migrations, undo }, last) ?? null) };
}

function carryWithRetry(
  run: TargetRun,
  target: ClaimedTarget,
  signal: AbortSignal,
  trace: Trace,
): Promise<{ schemaVersion: string | null; stamp: SchemaStamp | null }> {
  const onStep = (step: MigrationStatistics): void => {
    trace.steps.push(step);
    run.steps?.at(target.databaseId, nextStep(run, step.name));
  };
  return pRetry(
    async () => {
      const address = await run.servers.migrator(target.serverId, target);
      const request = {
        ownerRole: target.ownerRole,
        believed: target.schemaVersion,
        guard: run.guard(target.databaseId, target.schemaStamp),
        migrations: run.migrations,
        applicationName: run.applicationName,
        endOlderSessions: target.ranBefore,
        findBlockers: findBlockers(run.servers, target.serverId),
        signal,
      };
      if (run.undo === undefined) {
        const watch = run.watchBackfill?.(target);
        const more = { release: run.release, onApplied: onStep, backfill: watch?.control };
        return applyMigrations(address, { ...request, ...more }).finally(() => watch?.close());
      }
      const downTo = run.undo.downTo.get(target.databaseId);
      if (downTo === undefined) throw new Error(`nothing is known of ${target.slug} to take back`);
      return revertMigrations(address, { ...request, appliedBy: run.undo.of, downTo, onReverted: onStep });
    },
    {
      retries: run.retry.retries,
      minTimeout: run.retry.firstDelayMs,
      maxTimeout: run.retry.maxDelayMs,
      randomize: true,
      signal,
      onFailedAttempt: ({ error }) => {
        trace.lost ||= error instanceof FleetError && error.code === 'migration_unknown';
      },
      shouldRetry: ({ error }) =>
        !run.isAborted() && !wasLockWait(error) && (isRetryable(error) || isServerLost(error)),
    },
  );
}

/**
 * A migration that waited for locks has tried ten times within half a minute already: repeating that here would let
 * one blocked database hold its slot for minutes.
 */
function wasLockWait(error: unknown): boolean {
  return error instanceof FleetError && error.code === 'migration_failed' && isContention(error.cause);
}

/** Whether the server, not the migration, is at fault: not reached, or lost with a migration under way. */
function isServerLost(error: unknown): boolean {
  return isUnreachable(error) || (error instanceof FleetError && error.code === 'migration_unknown');
}

/** Its statement was cancelled, and its transaction rolled back. */
function wasCancelled(error: unknown): boolean {
  const cause = error instanceof FleetError && error.code === 'migration_failed' ? error.cause : error;
  return sqlState(cause) === SQLSTATE.queryCanceled;
}

function describe(error: unknown): ErrorSummary {
  // The server is there, the database is not.
  if (sqlState(error) !== SQLSTATE.invalidCatalogName) return summarizeError(error);
  return {
    code: 'database_missing',
    message: 'the registry lists this database, but its server does not have it',
    fix: 'restore the database, or delete the tenant',
  };
}
