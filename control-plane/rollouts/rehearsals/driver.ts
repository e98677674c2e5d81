import { isRetryable, summarizeError } from '../../../platform/errors.ts';
import { withLogContext } from '../../../platform/logging.ts';
import { openGuard } from '../../drift/guard.ts';
import type { Driver } from '../../operations/driver.ts';
import { LeaseLostError, type Lease } from '../../operations/lease.ts';
import { findRelease, listMigrations } from '../../releases/store.ts';
import { missingRelease } from '../../releases/withdrawn.ts';
import { listLiveServers } from '../../servers/store.ts';
import { dropLeftClones, idleDatabases } from './clone.ts';
import { createPrepare } from './prepare.ts';
import { rehearseTargets, type RehearsalDeps } from './run.ts';
import {
  chooseClones,
  findRehearsal,
  moveRehearsal,
  OPEN_REHEARSALS_SQL,
  pendingTargets,
  recordRehearsed,
  type PendingTarget,
  type RehearsalRecord,
  type TargetRehearsal,
} from './store.ts';

/**
 * Carries a rehearsal. What was found of a target is stored at once and never looked for again; the next owner of one
 * that was interrupted drops the copies that were left, and goes on with the others.
 */
export function createRehearsalDriver(deps: RehearsalDeps): Driver {
  return {
    kind: 'rehearsal',
    openIdsSql: OPEN_REHEARSALS_SQL,
    drive: (id, lease) => drive(deps, id, lease),
  };
}

async function drive(deps: RehearsalDeps, id: string, lease: Lease): Promise<void> {
  const rehearsal = await findRehearsal(deps.registry, id);
  if (rehearsal === undefined || !(await lease.transaction((tx) => moveRehearsal(tx, rehearsal, 'start'))))
    return;
  const running: RehearsalRecord = { ...rehearsal, state: 'running' };
  try {
    await withLogContext({ rolloutId: rehearsal.rolloutId }, () => run(deps, running, lease));
    if (!lease.stopping.aborted) await lease.transaction((tx) => moveRehearsal(tx, running, 'succeed'));
  } catch (error) {
    // What may pass by itself is tried again by the next owner; anything else would fail for ever.
    if (error instanceof LeaseLostError || lease.signal.aborted || isRetryable(error)) throw error;
    deps.logger.error('the rehearsal cannot go on', { rehearsal: id, error });
    await lease.transaction((tx) => moveRehearsal(tx, running, 'fail', summarizeError(error)));
  }
}

async function run(deps: RehearsalDeps, rehearsal: RehearsalRecord, lease: Lease): Promise<void> {
  const { id, release, lockTimeoutMs, maxHoldMs } = rehearsal;
  const head = await findRelease(deps.registry, release);
  if (head === undefined) throw await missingRelease(deps.registry, release);
  const waiting = await pendingTargets(deps.registry, id);
  await sweep(deps, [...new Set(waiting.map(({ serverId }) => serverId))]);
  if (rehearsal.clones > 0 && !rehearsal.clonesChosen) {
    const chosen = await biggestIdle(deps, waiting, rehearsal.clones);
    await lease.transaction((tx) => chooseClones(tx, id, chosen));
  }
  await rehearseTargets(
    {
      ...deps,
      ...{ rehearsalId: id, release, limits: { lockTimeoutMs, maxHoldMs }, lease },
      migrations: await listMigrations(deps.registry, head.headOrdinal),
      prepare: createPrepare(),
      guard: openGuard(deps),
    },
    await pendingTargets(deps.registry, id),
    inBatches((found) => lease.transaction((tx) => recordRehearsed(tx, id, found))),
  );
}

/** Drops copies that nobody holds on all servers. Harmless to run at any time. */
export async function sweepClones(deps: RehearsalDeps): Promise<void> {
  const servers = await listLiveServers(deps.registry, null);
  await sweep(
    deps,
    servers.filter(({ reachable }) => reachable).map(({ id }) => id),
  );
}

async function sweep({ servers, logger }: RehearsalDeps, serverIds: readonly string[]): Promise<void> {
  await Promise.all(
    serverIds.map(async (serverId) => {
      try {
        const dropped = await dropLeftClones(servers, serverId);
        if (dropped.length > 0) logger.warn('copies of a lost owner were dropped', { serverId, dropped });
      } catch (error) {
        logger.debug('could not look for copies that were left behind', { serverId, error });
      }
    }),
  );
}

/** Of the targets without a session, the biggest: they take longest, and hold most that may go wrong. */
async function biggestIdle(
  { servers, logger }: RehearsalDeps,
  targets: readonly PendingTarget[],
  count: number,
): Promise<string[]> {
  const candidates = targets.filter(({ gone, how }) => !gone && how === 'in_place');
  const serverIds = [...new Set(candidates.map(({ serverId }) => serverId))];
  const idle = await Promise.all(
    serverIds.map(async (serverId) => {
      const there = candidates.filter((target) => target.serverId === serverId);
      const found = await idleDatabases(
        servers,
        serverId,
        there.map(({ database }) => database),
      ).catch((error: unknown) => {
        logger.warn('could not ask for the sizes of databases', { serverId, error });
        return [];
      });
      return found.flatMap(({ name, bytes }) => {
        const target = there.find(({ database }) => database === name);
        return target === undefined ? [] : [{ databaseId: target.databaseId, bytes }];
      });
    }),
  );
  return idle
    .flat()
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, count)
    .map(({ databaseId }) => databaseId);
}

/** Stores what has come together while the last batch was written: one transaction at a time. */
function inBatches(
  write: (batch: TargetRehearsal[]) => Promise<void>,
): (found: TargetRehearsal) => Promise<void> {
  let waiting: TargetRehearsal[] = [];
  let writing: Promise<void> | undefined;
  const flush = async (): Promise<void> => {
    try {
      while (waiting.length > 0) {
        const batch = waiting;
        waiting = [];
        await write(batch);
      }
    } finally {
      writing = undefined;
    }
  };
  return (found) => {
    waiting.push(found);
    writing ??= flush();
    return writing;
  };
}
