import PQueue from 'p-queue';
import type { RehearsalOutcome } from '../../../contract/rehearsal.ts';
import { FleetError, isUnreachable, SQLSTATE, sqlState, summarizeError } from '../../../platform/errors.ts';
import { withLogContext, type Logger } from '../../../platform/logging.ts';
import type { GuardSchema } from '../../drift/guard.ts';
import type { Lease } from '../../operations/lease.ts';
import type { Registry } from '../../registry/registry.ts';
import { findBlockers } from '../../releases/blockers.ts';
import type { Migration } from '../../releases/release.ts';
import type { ServerAccess } from '../../servers/access.ts';
import { cloneName, CloneRefusedError, withClone } from './clone.ts';
import { rehearseInPlace, type InPlaceRehearsed } from './in-place.ts';
import { isOutOfRoom, rehearseOnClone } from './on-clone.ts';
import type { Prepare } from './prepare.ts';
import { unmeasured, type Limits, type Rehearsed } from './rehearsal.ts';
import type { PendingTarget, TargetRehearsal } from './store.ts';

export interface RehearsalDeps {
  registry: Registry;
  servers: ServerAccess;
  logger: Logger;
}

/** One drive of one rehearsal. */
export interface RehearsalRun extends RehearsalDeps {
  rehearsalId: string;
  release: string;
  /** The whole list up to the release's head. */
  migrations: Migration[];
  limits: Limits;
  prepare: Prepare;
  guard: GuardSchema;
  lease: Pick<Lease, 'epoch' | 'signal' | 'stopping'>;
}

/** Tries hold locks and write to disk: four at once leave a server to its tenants. */
const PER_SERVER = 4;
/** Over all servers: enough for eight of them, and half of what the registry and this process bear. */
const IN_ALL = 32;
/** A copy is the size of a database: one at a time on each server. */
const CLONES_PER_SERVER = 1;
/** A suspended tenant waits for nothing, so that copying its database may take as long as it needs: half an hour. */
const SUSPENDED_COPY_MS = 1_800_000;

/**
 * Rehearses the targets, a few at a time on each server, and hands what was found to `store`. Nothing new is begun
 * once the lease says stop, or something could not be stored. @throws what `store` throws
 */
export async function rehearseTargets(
  run: RehearsalRun,
  targets: readonly PendingTarget[],
  store: (found: TargetRehearsal) => Promise<void>,
): Promise<void> {
  const all = new PQueue({ concurrency: IN_ALL });
  const queueOf = serverQueues();
  let broken: { error: unknown } | undefined;
  const visit = async (target: PendingTarget): Promise<void> => {
    if (run.lease.stopping.aborted || broken !== undefined) return;
    const found = await rehearseTarget(run, target);
    if (found === undefined) return;
    await store(found).catch((error: unknown) => {
      broken = { error };
    });
  };
  await Promise.all(targets.map((target) => queueOf(target).add(() => all.add(() => visit(target)))));
  if (broken !== undefined) throw broken.error;
}

function serverQueues(): (target: PendingTarget) => PQueue {
  const queues = new Map<string, PQueue>();
  return ({ serverId, how }) => {
    const key = `${how} ${serverId}`;
    const queue =
      queues.get(key) ?? new PQueue({ concurrency: how === 'clone' ? CLONES_PER_SERVER : PER_SERVER });
    queues.set(key, queue);
    return queue;
  };
}

/** Answers undefined when the lease was lost meanwhile. */
async function rehearseTarget(
  run: RehearsalRun,
  target: PendingTarget,
): Promise<TargetRehearsal | undefined> {
  return withLogContext({ tenant: target.slug }, async () => {
    const startedAt = performance.now();
    const { rehearsed, stamp } = await look(run, target).catch((error: unknown) => ({
      ...{ rehearsed: describe(run, error), stamp: null },
    }));
    if (run.lease.signal.aborted) return undefined;
    const durationMs = Math.round(performance.now() - startedAt);
    return { ...rehearsed, stamp, databaseId: target.databaseId, durationMs };
  });
}

async function look(run: RehearsalRun, target: PendingTarget): Promise<InPlaceRehearsed> {
  const { servers, limits, lease } = run;
  const { serverId, ownerRole } = target;
  const only = (rehearsed: Rehearsed): InPlaceRehearsed => ({ rehearsed, stamp: null });
  if (target.gone) return only(unmeasured('skipped', { reason: 'deleted' }));
  if (target.tenantState === 'moving') {
    return only(unmeasured('busy', { reason: 'its tenant is being moved' }));
  }
  const request = {
    ownerRole,
    migrations: run.migrations,
    applicationName: `fleet:${run.rehearsalId}:${lease.epoch}`,
    findBlockers: findBlockers(servers, serverId),
    signal: lease.signal,
  };
  if (target.how === 'in_place') {
    const address = await servers.migrator(serverId, target);
    const guard = run.guard(target.databaseId, target.schemaStamp);
    return rehearseInPlace(address, { ...request, limits, guard, prepare: run.prepare });
  }
  const clone = cloneName(run.rehearsalId, target.databaseId);
  const maxCopyMs = target.tenantState === 'suspended' ? SUSPENDED_COPY_MS : limits.maxHoldMs;
  const copied = { serverId, source: target.database, ownerRole, clone, maxCopyMs };
  const rehearsed = await withClone(servers, copied, async () => {
    const address = await servers.migrator(serverId, { database: clone, ownerRole });
    const guard = run.guard(target.databaseId, null);
    return rehearseOnClone(address, { ...request, guard, release: run.release, missing: target.missing });
  });
  return only(rehearsed);
}

/** What is in the way of a try, as against a migration that fails in it. */
function describe({ logger }: RehearsalRun, error: unknown): Rehearsed {
  if (error instanceof CloneRefusedError) return unmeasured('busy', { reason: error.message });
  const told = { error: summarizeError(error) };
  if (isUnreachable(error)) return unmeasured('unreachable', told);
  if (error instanceof FleetError) return unmeasured(outcomeOf(error), told);
  if (sqlState(error) === SQLSTATE.tooManyConnections) return unmeasured('busy', told);
  if (sqlState(error) === SQLSTATE.invalidCatalogName) return unmeasured('fails', told);
  logger.warn('a target could not be rehearsed', { error });
  return unmeasured('not_rehearsed', told);
}

function outcomeOf(error: FleetError): RehearsalOutcome {
  if (error.code === 'migration_unknown') return 'unreachable';
  if (isOutOfRoom(error)) return 'not_rehearsed';
  // Another session migrates it; everything else is what a rollout would end with, too.
  return error.retryable ? 'busy' : 'fails';
}
