import { LRUCache } from 'lru-cache';
import type { LocalRoute } from '../../contract/route.ts';
import type { Logger } from '../../platform/logging.ts';
import { acquireError, isRefusedLogin, isTooManyConnections } from './acquire-error.ts';
import { createBudget } from './budget.ts';
import type { Credentials } from './credentials.ts';
import { leave, switchCredential } from './credential-switch.ts';
import { createDeadlines } from './deadlines.ts';
import type { Breaker } from './gate.ts';
import { close, enqueue, giveUp, nextWaiter, release, retire, serve } from './pool-queue.ts';
import type { Connection, Entry, PoolLimits, PoolsState, PoolStats, Waiter } from './pool-state.ts';
import { credentialUnavailable, RoutingError } from './problem.ts';

/**
 * Connections to the databases of all tenants of a process, made when needed, within one budget. A pool of the
 * driver per tenant would know neither the budget nor who else waits, and costs 10 µs more for each query.
 */
export interface Pools {
  /** An idle connection, if there is one. `breaker` guards the opening of new ones. */
  take(route: LocalRoute, breaker: Breaker): Connection | undefined;
  /**
   * A connection that has proven to be of the route's tenant. Give it back with `release`.
   * @throws RoutingError 503: `pool_exhausted`, `database_unreachable`, `wrong_database`, `breaker_open`,
   *   `credential_refused`, `too_many_connections`, and what `credentials` refuses with
   */
  acquire(route: LocalRoute, breaker: Breaker): Promise<Connection>;
  /** `broken` closes the connection instead of keeping it. */
  release(connection: Connection, broken: boolean): void;
  /**
   * Takes the route's pool out of use: idle connections are closed, busy ones when they come back.
   * @param before version of the route table until which it was in use
   */
  retire(route: LocalRoute, before: string): void;
  /** The same database has another credential: see credential-switch.ts. */
  replace(previous: LocalRoute, next: LocalRoute, before: string): void;
  /** Version of the route table until which all pools in use today were; undefined: no older one has connections. */
  inUseSince(): bigint | undefined;
  stats(): PoolStats;
  /** Drains everything. Settles when the last connection is closed, or after 5 s. */
  close(): Promise<void>;
}

/** 10,000 empty pools take a few MB; connections are bounded by the budget, not by this. */
const MAX_POOLS = 10_000;
/** 60 s: bridges the pauses of a person at work; a tenant that is gone for longer pays 10 ms for its return. */
const IDLE_MS = 60_000;
/** Looking for idle connections every 10 s costs microseconds, where a timer for each costs one per query. */
const SWEEP_MS = 10_000;
/** 5 s: a server that does not answer a goodbye in that time must not keep a process from its end. */
const CLOSE_MS = 5_000;
/** Time between attempts when the server has no connection free: sessions of others are just ending. */
const TOO_MANY_RETRY_MS = 50;

export interface PoolsDeps {
  credentials: Credentials;
  logger: Logger;
  limits: PoolLimits;
  /** Told when the last connection of a pool out of use is closed. */
  onLeft?: () => void;
}

export function createPools(deps: PoolsDeps): Pools {
  let onEmpty: () => void = () => undefined;
  const empty = new Promise<void>((resolve) => (onEmpty = resolve));
  const state: PoolsState = {
    ...deps,
    budget: createBudget(deps.limits.connections),
    lru: new LRUCache<string, Entry>({ max: MAX_POOLS, dispose: retire }),
    waiting: createDeadlines<Waiter>(deps.limits.waitMs, (waiter) => giveUp(state, waiter)),
    starved: new Set(),
    opening: 0,
    standIns: new Map(),
    leaving: new Map(),
    onLeft: deps.onLeft ?? (() => undefined),
    ended: new AbortController(),
    onEmpty,
  };
  const sweep = setInterval(() => closeUnused(state), SWEEP_MS).unref();
  return {
    take: (route, breaker) => {
      const entry = entryOf(state, route, breaker);
      // Those who wait come first; then none is idle either.
      return entry.idle.pop();
    },
    acquire: (route, breaker) => acquire(state, route, breaker),
    release: (connection, broken) => release(state, connection, broken),
    retire: (route, before) => {
      const entry = known(state, poolKey(route));
      state.standIns.delete(poolKey(route));
      if (entry !== undefined) leave(state, entry, before);
    },
    replace: (previous, next, before) => {
      const entry = known(state, poolKey(previous));
      state.standIns.delete(poolKey(previous));
      if (entry === undefined) return state.onLeft();
      const change = { entry, key: poolKey(next), before };
      switchCredential(state, change, () => makeEntry(state, next, entry.breaker));
    },
    inUseSince: () => [...state.leaving.values()].sort((a, b) => (a < b ? -1 : 1))[0],
    stats: () => statsOf(state),
    close: () => {
      clearInterval(sweep);
      state.ended.abort();
      state.standIns.clear();
      state.lru.clear();
      return state.budget.used() === 0 ? Promise.resolve() : within(CLOSE_MS, empty);
    },
  };
}

function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

const keys = new WeakMap<LocalRoute, string>();

/** The parts of a route that a connection depends on: two routes alike in them share a pool. */
export function poolKey(route: LocalRoute): string {
  const known = keys.get(route);
  if (known !== undefined) return known;
  const key = `${route.tenantId}/${route.databaseId}/${route.credentialVersion}/${route.endpointEpoch}`;
  keys.set(route, key);
  return key;
}

/** Whether two routes lead to the same database, whatever opens it. */
export function isSamePlace(a: LocalRoute, b: LocalRoute): boolean {
  return a.tenantId === b.tenantId && a.databaseId === b.databaseId && a.endpointEpoch === b.endpointEpoch;
}

function entryOf(state: PoolsState, route: LocalRoute, breaker: Breaker): Entry {
  const key = poolKey(route);
  const found = known(state, key);
  if (found !== undefined) return found;
  const entry = makeEntry(state, route, breaker);
  state.lru.set(key, entry);
  return entry;
}

/** The pool that serves the key's requests, if there is one. */
function known(state: PoolsState, key: string): Entry | undefined {
  return (state.standIns.size > 0 ? state.standIns.get(key) : undefined) ?? state.lru.get(key);
}

function makeEntry(state: PoolsState, route: LocalRoute, breaker: Breaker): Entry {
  const { limits } = state;
  const entry: Entry = {
    key: poolKey(route),
    route,
    breaker,
    max: Math.max(1, Math.min(limits.connectionsPerTenant, route.connectionLimit)),
    serverLimit: Math.max(1, Math.min(limits.connectionsPerServer, route.serverMaxConnections)),
    credential: undefined,
    refused: undefined,
    idle: [],
    total: 0,
    opening: 0,
    queue: [],
    growTimer: undefined,
    fullUntil: 0,
    isRoomComing: false,
    isRetired: false,
  };
  void loadCredential(state, entry);
  return entry;
}

/** Those who wait are told the outcome. Never rejects. */
async function loadCredential(state: PoolsState, entry: Entry): Promise<void> {
  try {
    entry.credential = await state.credentials.get(entry.route);
    serve(state, entry);
  } catch (cause) {
    state.lru.delete(entry.key);
    const error = cause instanceof RoutingError ? cause : credentialUnavailable(cause);
    for (let waiter = nextWaiter(state, entry); waiter !== undefined; waiter = nextWaiter(state, entry)) {
      waiter.reject(error);
    }
  }
}

async function acquire(state: PoolsState, route: LocalRoute, breaker: Breaker): Promise<Connection> {
  const deadline = performance.now() + state.limits.waitMs;
  let mayRenew = true;
  for (;;) {
    const entry = entryOf(state, route, breaker);
    try {
      return entry.idle.pop() ?? (await enqueue(state, entry));
    } catch (error) {
      if (error instanceof RoutingError) throw error;
      if (isRefusedLogin(error) && mayRenew) {
        mayRenew = false;
        if (await renewCredential(state, entry)) continue;
      } else if (isTooManyConnections(error) && (await pauseBefore(deadline))) {
        continue;
      }
      throw acquireError(error);
    }
  }
}

/** Whether there is another credential to try. Sessions that are open go on with the old one. */
async function renewCredential(state: PoolsState, entry: Entry): Promise<boolean> {
  const { refused } = entry;
  if (refused === undefined) return false;
  // Another request that met the same has already asked.
  if (entry.credential?.password !== refused.password) return true;
  const renewed = await state.credentials.renew(entry.route.databaseId, refused).catch(() => undefined);
  state.logger.warn('a database refused its credential', {
    tenant: entry.route.slug,
    renewed: renewed !== undefined,
  });
  if (renewed === undefined) return false;
  entry.credential = renewed;
  return true;
}

async function pauseBefore(deadline: number): Promise<boolean> {
  if (performance.now() + TOO_MANY_RETRY_MS > deadline) return false;
  await new Promise((resolve) => setTimeout(resolve, TOO_MANY_RETRY_MS));
  return true;
}

function closeUnused(state: PoolsState): void {
  const oldest = performance.now() - IDLE_MS;
  for (const entry of [...state.lru.values()]) {
    while (entry.idle[0] !== undefined && entry.idle[0].idleSince < oldest) {
      const connection = entry.idle.shift();
      if (connection !== undefined) close(connection);
    }
  }
}

function statsOf(state: PoolsState): PoolStats {
  let busy = 0;
  let waiting = 0;
  for (const entry of state.lru.values()) {
    busy += entry.total - entry.idle.length;
    waiting += entry.queue.length;
  }
  return { pools: state.lru.size, connections: state.budget.used(), busy, waiting };
}
