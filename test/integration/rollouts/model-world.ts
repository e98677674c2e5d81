import type { ErrorSummary } from '../../../platform/errors.ts';
import type { Driver } from '../../../control-plane/operations/driver.ts';
import { releaseLease } from '../../../control-plane/operations/lease.ts';
import type { Registry } from '../../../control-plane/registry/registry.ts';
import { createRolloutDriver } from '../../../control-plane/rollouts/engine/driver.ts';
import type { Run } from '../../../control-plane/rollouts/engine/run.ts';
import { isThrough, type Found } from '../../../control-plane/rollouts/engine/settle.ts';
import type { RolloutRecord } from '../../../control-plane/rollouts/store.ts';
import { sureOf, type TargetRun } from '../../../control-plane/rollouts/engine/target.ts';
import type { ClaimedTarget, TargetResult } from '../../../control-plane/rollouts/target-store.ts';
import type { ServerAccess } from '../../../control-plane/servers/access.ts';
import { takeLease } from '../../support/drive.ts';
import { quietLogger } from '../../support/registry.ts';
import { takeSteps, versionOf, type ModelDatabase, type ModelRun } from './model-database.ts';

/** Servers are tried again and given up by command, not by the clock. */
const OUTAGE = { firstMs: 3_600_000, maxMs: 3_600_000, giveUpMs: 86_400_000 };

/** A migration in flight, that the test ends: `luck` decides how far it gets where something goes wrong. */
interface Flight {
  databaseId: string;
  run: ModelRun;
  /** Whether it got through to its database, and has the lock of migrations. */
  hasSession: boolean;
  end: (how: 'done' | 'cut', luck: number) => void;
}

/** Databases in memory, and the one driver that works on them. */
export interface World {
  registry: Registry;
  driver: Driver;
  databases: Map<string, ModelDatabase>;
  /** Servers that do not answer. */
  down: Set<string>;
  flights: Map<string, Flight>;
  /** Sessions whose driver was cut off from the registry. */
  ghosts: Map<string, Flight>;
  isCutOff: boolean;
  lost: Set<string>;
  breaches: string[];
  tenants: { slug: string; databaseId: string }[];
  ids: string[];
  number: number;
  /** Rings when something has taken off. */
  ring: () => void;
  driving: { lease: Awaited<ReturnType<typeof takeLease>>; over: Promise<void> } | undefined;
}

export function makeWorld(registry: Registry): World {
  const world: World = {
    registry,
    driver: createRolloutDriver({
      registry,
      servers: {} as ServerAccess,
      logger: quietLogger,
      outage: OUTAGE,
      migrate: (run, target, signal) => migrate(world, run, target, signal),
      ask: (run, rollout, target) => ask(world, run, rollout, target),
    }),
    ...{
      databases: new Map(),
      down: new Set(),
      flights: new Map(),
      ghosts: new Map(),
      isCutOff: false,
      lost: new Set(),
    },
    ...{ breaches: [], tenants: [], ids: [], number: 0, ring: () => undefined, driving: undefined },
  };
  return world;
}

export function databaseOf(world: World, databaseId: string): ModelDatabase {
  const database = world.databases.get(databaseId);
  if (database === undefined) throw new Error(`there is no database ${databaseId}`);
  return database;
}

/** Finds out what became of a target, as the real one does. */
async function ask(world: World, run: Run, rollout: RolloutRecord, target: ClaimedTarget): Promise<Found> {
  const standing = { event: 'lose', error: AWAY, reason: null, ...sureOf(run, target, LOST) } as const;
  world.lost.add(target.databaseId);
  if (world.down.has(target.serverId)) return standing;
  if (isLocked(world, run, target, true)) {
    return rollout.state === 'running' ? { event: 'requeue', error: null, reason: null } : standing;
  }
  world.lost.delete(target.databaseId);
  const database = databaseOf(world, target.databaseId);
  const said = { error: null, reason: null, schemaVersion: versionOf(database) };
  if (isThrough(run, target, { ...database, interrupted: null })) return { event: 'verify', ...said };
  if (rollout.state !== 'aborted') return { event: 'requeue', ...said };
  return { event: 'skip', ...said, reason: 'aborted' };
}

/**
 * Whether a session that lives on holds the lock of migrations; it has ended then. Older sessions of the same rollout are
 * ended before, by those that know of them.
 */
function isLocked(world: World, run: ModelRun, target: ClaimedTarget, endsOlder: boolean): boolean {
  const ghost = world.ghosts.get(target.databaseId);
  world.ghosts.delete(target.databaseId);
  if (ghost === undefined) return false;
  if (rolloutOf(ghost.run) !== rolloutOf(run)) return true;
  if (!endsOlder) world.breaches.push(`two sessions in ${target.slug}`);
  return false;
}

function rolloutOf({ applicationName }: ModelRun): string {
  return applicationName.split(':')[1] ?? '';
}

/** Waits in flight until somebody ends it. */
async function migrate(
  world: World,
  run: TargetRun,
  target: ClaimedTarget,
  signal: AbortSignal,
): Promise<TargetResult | undefined> {
  const { databaseId, serverId } = target;
  if (signal.aborted) return undefined;
  const database = databaseOf(world, databaseId);
  const isAway = world.down.has(serverId);
  const isHeld = !isAway && isLocked(world, run, target, target.ranBefore);
  if (world.flights.has(databaseId)) world.breaches.push(`two flights in ${target.slug}`);
  const luck = await fly(world, { databaseId, run, hasSession: !isAway && !isHeld }, signal);
  if (luck === undefined) return undefined;
  const told = { databaseId, serverId, durationMs: 1, error: null, reason: null };
  if (isAway) return { ...told, state: 'unreachable', error: AWAY };
  if (!world.down.has(serverId)) world.lost.delete(databaseId);
  if (isHeld)
    return { ...told, state: 'failed', error: LOCKED, reached: { schemaVersion: versionOf(database) } };
  if (world.down.has(serverId)) {
    // Lost in the middle: nobody is told what was done.
    world.lost.add(databaseId);
    takeSteps(database, run, databaseId, luck % 4);
    return { ...told, state: 'unreachable', error: AWAY, reached: sureOf(run, target, LOST) };
  }
  const isCancelled = run.isAborted() && luck % 2 === 0;
  const { steps, error } = takeSteps(database, run, databaseId, isCancelled ? luck % 3 : Infinity);
  const done = { ...told, applied: steps, reached: { schemaVersion: versionOf(database) } };
  if (isCancelled) return { ...done, state: 'skipped', reason: 'aborted' };
  return { ...done, state: error === null ? 'verified' : 'failed', error };
}

const AWAY: ErrorSummary = { code: 'ECONNREFUSED', message: 'the server does not answer' };
const LOCKED: ErrorSummary = { code: 'migration_locked', message: 'another session is migrating' };
const LOST = { steps: [], lost: true };

/** Answers the luck that it was ended with; undefined where it was cut. */
function fly(world: World, of: Omit<Flight, 'end'>, signal: AbortSignal): Promise<number | undefined> {
  return new Promise((resolve) => {
    const end = (how: 'done' | 'cut', luck: number): void => {
      if (world.flights.get(of.databaseId)?.end === end) world.flights.delete(of.databaseId);
      resolve(how === 'cut' ? undefined : luck);
    };
    const flight = { ...of, end };
    world.flights.set(of.databaseId, flight);
    const cut = (): void => {
      const isOpen = world.flights.get(of.databaseId) === flight;
      if (isOpen && world.isCutOff && flight.hasSession) world.ghosts.set(of.databaseId, flight);
      end('cut', 0);
    };
    signal.addEventListener('abort', cut, { once: true });
    world.ring();
  });
}

/** Lets a worker take a rollout if one should. */
export async function pump(world: World): Promise<void> {
  const { registry, driver } = world;
  if (world.driving !== undefined) return;
  const { rows } = await registry.query<{ id: string }>(driver.openIdsSql);
  const [open] = rows;
  if (open === undefined) return;
  const lease = await takeLease(registry, `rollout:${open.id}`);
  const over = driver
    .drive(open.id, lease)
    .catch((error: unknown) => void world.breaches.push(`the driver threw: ${String(error)}`))
    .then(() => releaseLease(registry, lease.resource, lease.holder, lease.epoch))
    .finally(() => {
      if (world.driving?.lease === lease) world.driving = undefined;
    });
  world.driving = { lease, over };
}

/** Until something is in flight, or the driver is over. */
export async function inFlight(world: World): Promise<void> {
  if (world.driving === undefined || world.flights.size > 0) return;
  const flight = new Promise<void>((resolve) => {
    world.ring = resolve;
  });
  await Promise.race([world.driving.over, flight]);
}

export async function settle(world: World): Promise<void> {
  for (let turn = 0; turn < MAX_TURNS; turn += 1) {
    await pump(world);
    if (world.driving === undefined) return;
    await inFlight(world);
    for (const flight of [...world.flights.values()]) flight.end('done', turn);
  }
  world.breaches.push('it never comes to rest');
}

/** A run has some dozens of targets; far more rounds than that are a loop. */
const MAX_TURNS = 200;

export async function crash(world: World, luck: number): Promise<void> {
  const [flight] = world.flights.values();
  if (flight?.hasSession === true) {
    takeSteps(databaseOf(world, flight.databaseId), flight.run, flight.databaseId, luck % 4);
  }
  const dying = world.driving;
  dying?.lease.abort.abort();
  await dying?.over;
}

export async function cutOff(world: World): Promise<void> {
  world.isCutOff = true;
  await crash(world, 0);
  world.isCutOff = false;
}
