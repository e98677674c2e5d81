import { FleetError, isUnreachable, summarizeError, type ErrorSummary } from '../../../platform/errors.ts';
import type { DatabaseState } from '../../releases/bookkeeping.ts';
import { askDatabase, wholeVersion } from '../../releases/inspect.ts';
import { missingMigrations } from '../../releases/release.ts';
import { migrationsToRevert } from '../../releases/revert.ts';
import { setSchemaVersions } from '../../servers/database-store.ts';
import { announce } from '../announce.ts';
import { openOutage } from './outage.ts';
import type { Run } from './run.ts';
import type { RolloutRecord } from '../store.ts';
import { isGone, settleTarget, unknownTargets, type ClaimedTarget } from '../target-store.ts';
import { sureOf, type TargetRun } from './target.ts';
import { markUndone } from '../verbs/undo-store.ts';

/**
 * Databases asked at once: reading a table takes a few milliseconds each, and what a lost owner had in flight by default
 * costs one connection time-out where a server is away.
 */
const PARALLEL = 16;

/**
 * Finds out what became of targets whose worker died: their databases are asked, nothing is applied. So a rollout says
 * of every target what state it is in, where it stands still, outside of windows, and while a server is away.
 */
export async function settleUnknown(run: Run, rollout: RolloutRecord): Promise<void> {
  const targets = await unknownTargets(run.registry, rollout.id);
  for (let from = 0; from < targets.length && !run.lease.stopping.aborted; from += PARALLEL) {
    await Promise.all(targets.slice(from, from + PARALLEL).map((target) => settle(run, rollout, target)));
  }
  if (targets.length > 0) await run.lease.transaction((tx) => announce(tx, rollout.id));
}

/** What was in flight when an undo was aborted has ended by now. */
export async function settleUndo(run: Run, { id, undoOf: of, state }: RolloutRecord): Promise<void> {
  if (of !== null && state === 'aborted') await run.lease.transaction((tx) => markUndone(tx, { id, of }));
}

async function settle(run: Run, rollout: RolloutRecord, target: ClaimedTarget): Promise<void> {
  const found = await run.ask(run, rollout, target);
  if (run.lease.signal.aborted) return;
  await run.lease.transaction(async (tx) => {
    await settleTarget(tx, rollout.id, target.databaseId, found);
    // It is tried again when its server is.
    if (found.event === 'lose' && rollout.state === 'running') await openOutage(tx, run, target.serverId);
    if (found.schemaVersion === undefined) return;
    await setSchemaVersions(tx, [{ databaseId: target.databaseId, schemaVersion: found.schemaVersion }]);
  });
}

/** What became of a target, and what its database has. */
export interface Found {
  event: 'verify' | 'requeue' | 'skip' | 'lose';
  error: ErrorSummary | null;
  reason: string | null;
  /** What it has for sure; undefined when it could not be asked and the registry's record stays. */
  schemaVersion?: string | null;
}

export type AskTarget = (run: Run, rollout: RolloutRecord, target: ClaimedTarget) => Promise<Found>;

export async function askTarget(run: Run, rollout: RolloutRecord, target: ClaimedTarget): Promise<Found> {
  if (await isGone(run.registry, target.databaseId)) return { event: 'skip', error: null, reason: 'deleted' };
  try {
    const address = await run.servers.migrator(target.serverId, target);
    const state = await askDatabase(address, {
      ownerRole: target.ownerRole,
      applicationName: run.applicationName,
      signal: run.lease.signal,
    });
    const schemaVersion = wholeVersion(state);
    if (isThrough(run, target, state)) return { event: 'verify', error: null, reason: null, schemaVersion };
    if (rollout.state !== 'aborted') return { event: 'requeue', error: null, reason: null, schemaVersion };
    return { event: 'skip', error: null, reason: abortedReason(state), schemaVersion };
  } catch (error) {
    // The run asks again under the same lock, and says what is wrong there.
    if (rollout.state === 'running' && !isUnreachable(error)) {
      return { event: 'requeue', error: null, reason: null };
    }
    // Not a guess: it says that nobody could ask. A retry asks again before it does anything.
    const sure = sureOf(run, target, { steps: [], lost: true });
    return { event: 'lose', error: summarizeError(error), reason: null, ...sure };
  }
}

/**
 * Whether the database is where the rollout wants it: every migration of the list is there, in order and unchanged,
 * whatever a later release has put on top; or, in an undo, nothing of what is to go.
 * @throws FleetError `migration_unknown` where its record is not that of the list
 */
export function isThrough(
  run: Pick<TargetRun, 'migrations' | 'undo'>,
  { databaseId }: Pick<ClaimedTarget, 'databaseId'>,
  state: Pick<DatabaseState, 'applied' | 'appliedBy' | 'interrupted'>,
): boolean {
  const { migrations, undo } = run;
  try {
    const missing = missingMigrations(state.applied, migrations);
    if (state.interrupted !== null) return false;
    if (undo === undefined) return missing.length === 0;
    const downTo = undo.downTo.get(databaseId) ?? null;
    return migrationsToRevert(state, { migrations, downTo, appliedBy: undo.of }).length === 0;
  } catch (error) {
    if (!(error instanceof FleetError)) throw error;
    throw new FleetError({
      code: 'migration_unknown',
      status: 409,
      message: `the database was asked, and its answer does not fit the release: ${error.message}`,
      fix: error.fix,
      cause: error,
    });
  }
}

function abortedReason({ interrupted }: DatabaseState): string {
  if (interrupted === null) return 'aborted';
  return `aborted with ${interrupted.migration} half done (${interrupted.statementsDone} of its statements)`;
}
