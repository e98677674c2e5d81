import { LRUCache } from 'lru-cache';
import type { LocalRoute, RouteCredential } from '../../contract/route.ts';
import type { Logger } from '../../platform/logging.ts';
import { acquireError, isRefusedLogin, isTooManyConnections } from './acquire-error.ts';
import { createBudget } from './budget.ts';
import type { Credentials } from './credentials.ts';
import { endPool, enqueue, freed, release, retire, serve, settle } from './pool-queue.ts';
import {
  checkOut,
  hasIdle,
  type Entry,
  type Lease,
  type PoolLimits,
  type PoolStats,
  type State,
} from './pool-state.ts';
import { RoutingError } from './problem.ts';
import { createTenantPool, poolKey } from './tenant-pool.ts';

/** Connections to the databases of all tenants of a process, made when needed, within one budget. */
export interface Pools {
  /**
   * A connection that has proven to be of the route's tenant. Give it back with `release`.
   * @throws RoutingError 503: `pool_exhausted`, `database_unreachable`, `wrong_database`,
   *   `credential_refused`, `credential_unavailable`, `too_many_connections`
   */
  acquire(route: LocalRoute): Promise<Lease>;
  /** `broken` destroys the connection instead of keeping it. */
  release(lease: Lease, broken: boolean): void;
  /** Takes the route's pool out of use: idle connections are closed, busy ones when they come back. */
  retire(route: LocalRoute): void;
  stats(): PoolStats;
  /** Drains everything. Settles when the last connection is closed. */
  close(): Promise<void>;
}

/** 10,000 empty pools take a few MB; connections are bounded by the budget, not by this. */
const MAX_POOLS = 10_000;
/** Time between attempts when the server has no connection free: sessions of others are just ending. */
const TOO_MANY_RETRY_MS = 50;

export function createPools(deps: { credentials: Credentials; logger: Logger; limits: PoolLimits }): Pools {
  const ending = new Set<Promise<void>>();
  const state: State = {
    ...deps,
    budget: createBudget(deps.limits.connections),
    lru: new LRUCache<string, Entry>({ max: MAX_POOLS, dispose: (entry) => retire(state, entry) }),
    starved: new Set(),
    evicting: 0,
    ending,
  };
  return {
    acquire: (route) => acquire(state, route),
    release: (lease, broken) => release(state, lease, broken),
    retire: (route) => void state.lru.delete(poolKey(route)),
    stats: () => statsOf(state),
    close: async () => {
      state.lru.clear();
      await Promise.all(ending);
    },
  };
}

function acquire(state: State, route: LocalRoute): Promise<Lease> {
  const entry = entryOf(state, route);
  if (entry.pool !== undefined && entry.queue.length === 0 && hasIdle(entry.pool)) {
    return checkOut(entry, entry.pool);
  }
  return acquireSlowly(state, route, performance.now() + state.limits.waitMs);
}

function entryOf(state: State, route: LocalRoute): Entry {
  const key = poolKey(route);
  const found = state.lru.get(key);
  if (found !== undefined) return found;
  const entry: Entry = {
    key,
    route,
    max: Math.max(1, Math.min(state.limits.connectionsPerTenant, route.connectionLimit)),
    serverLimit: Math.max(1, Math.min(state.limits.connectionsPerServer, route.serverMaxConnections)),
    pool: undefined,
    credential: undefined,
    busy: 0,
    queue: [],
    isRetired: false,
  };
  state.lru.set(key, entry);
  void open(state, entry);
  return entry;
}

/** Gets the credential and makes the pool; those who wait are told the outcome. Never rejects. */
async function open(state: State, entry: Entry): Promise<void> {
  const { databaseId, credentialVersion } = entry.route;
  try {
    usePool(state, entry, await state.credentials.get(databaseId, credentialVersion));
    serve(state, entry);
  } catch (cause) {
    const error = new RoutingError({
      code: 'credential_unavailable',
      status: 503,
      message: "the credential of the tenant's database cannot be had just now",
      retryAfterS: 2,
      cause,
    });
    for (const waiter of entry.queue.splice(0)) settle(waiter).reject(error);
    state.lru.delete(entry.key);
  }
}

function usePool(state: State, entry: Entry, credential: RouteCredential): void {
  const { logger, limits } = state;
  const previous = entry.pool;
  entry.credential = credential;
  const pool = createTenantPool(entry.route, credential, { ...limits, max: entry.max, logger });
  entry.pool = pool;
  // Whatever way a connection ends, this event comes, and once.
  pool.on('connect', (client) => client.once('end', () => freed(state, entry)));
  if (previous !== undefined) endPool(state, previous);
}

async function acquireSlowly(state: State, route: LocalRoute, deadline: number): Promise<Lease> {
  let isFirst = true;
  for (;;) {
    const entry = entryOf(state, route);
    try {
      return await enqueue(state, entry, deadline);
    } catch (error) {
      if (error instanceof RoutingError) throw error;
      if (isRefusedLogin(error) && isFirst && (await renewCredential(state, entry))) isFirst = false;
      else if (!isTooManyConnections(error) || !(await pauseBefore(deadline))) throw acquireError(error);
    }
  }
}

/** Whether there is another credential to try. Sessions that are open go on with the old one. */
async function renewCredential(state: State, entry: Entry): Promise<boolean> {
  const { credential } = entry;
  if (credential === undefined) return false;
  const renewed = await state.credentials.renew(entry.route.databaseId, credential).catch(() => undefined);
  state.logger.warn('a database refused its credential', {
    tenant: entry.route.slug,
    renewed: renewed !== undefined,
  });
  if (renewed === undefined) return false;
  // Others who failed at the same moment may have renewed it already.
  if (!entry.isRetired && entry.credential?.password !== renewed.password) usePool(state, entry, renewed);
  return true;
}

async function pauseBefore(deadline: number): Promise<boolean> {
  if (performance.now() + TOO_MANY_RETRY_MS > deadline) return false;
  await new Promise((resolve) => setTimeout(resolve, TOO_MANY_RETRY_MS));
  return true;
}

function statsOf(state: State): PoolStats {
  let busy = 0;
  let waiting = 0;
  for (const entry of state.lru.values()) {
    busy += entry.busy;
    waiting += entry.queue.length;
  }
  return { pools: state.lru.size, connections: state.budget.used(), busy, waiting };
}
