import { summarizeError } from '../../platform/errors.ts';
import { applyMigrations } from '../releases/apply.ts';
import { setSchemaVersions } from '../servers/database-store.ts';
import type { RolloutRecord } from './store.ts';
import { announce } from './store.ts';
import { isGone, settleTarget, unknownTargets, type ClaimedTarget } from './target-store.ts';
import type { Run } from './wave.ts';

/** Databases asked at once: reading a table takes a few milliseconds each. */
const PARALLEL = 8;

/**
 * Finds out, for a rollout that stands still, what became of targets whose worker died: their databases are
 * asked, nothing is applied. So a stopped rollout says of every target what state it is in.
 */
export async function settleUnknown(run: Run, rollout: RolloutRecord): Promise<void> {
  const targets = await unknownTargets(run.registry, rollout.id);
  for (let from = 0; from < targets.length && !run.lease.stopping.aborted; from += PARALLEL) {
    await Promise.all(targets.slice(from, from + PARALLEL).map((target) => settle(run, rollout, target)));
  }
  if (targets.length > 0) await run.lease.transaction((tx) => announce(tx, rollout.id));
}

async function settle(run: Run, rollout: RolloutRecord, target: ClaimedTarget): Promise<void> {
  const found = await ask(run, rollout, target);
  if (run.lease.signal.aborted) return;
  await run.lease.transaction(async (tx) => {
    await settleTarget(tx, rollout.id, target.databaseId, found);
    if (found.schemaVersion === undefined) return;
    await setSchemaVersions(tx, [{ databaseId: target.databaseId, schemaVersion: found.schemaVersion }]);
  });
}

interface Found {
  event: 'verify' | 'requeue' | 'skip' | 'lose';
  error: { code: string; message: string } | null;
  reason: string | null;
  /** Undefined when the database could not be asked. */
  schemaVersion?: string | null;
}

async function ask(run: Run, rollout: RolloutRecord, target: ClaimedTarget): Promise<Found> {
  if (await isGone(run.registry, target.databaseId)) return { event: 'skip', error: null, reason: 'deleted' };
  try {
    const address = await run.servers.migrator(target.serverId, target.database);
    // With an empty list nothing is missing: it ends the dead worker's session, takes the lock, and reads.
    const { schemaVersion } = await applyMigrations(address, {
      ownerRole: target.ownerRole,
      migrations: [],
      release: run.release,
      applicationName: run.applicationName,
      endOlderSessions: true,
      signal: run.lease.signal,
    });
    if (isAtHead(run, schemaVersion)) return { event: 'verify', error: null, reason: null, schemaVersion };
    if (rollout.state === 'aborted') return { event: 'skip', error: null, reason: 'aborted', schemaVersion };
    return { event: 'requeue', error: null, reason: null, schemaVersion };
  } catch (error) {
    // Not a guess: it says that nobody could ask. A retry asks again before it does anything.
    return { event: 'lose', error: summarizeError(error), reason: null };
  }
}

/** At the head, or past it: a name that the list does not have is of a later release. */
function isAtHead(run: Run, schemaVersion: string | null): boolean {
  if (schemaVersion === null) return false;
  const place = run.migrations.findIndex((migration) => migration.name === schemaVersion);
  return place === -1 || place === run.migrations.length - 1;
}
