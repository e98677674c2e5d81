import { LRUCache } from 'lru-cache';
import type { LocalRoute, RouteCredential } from '../../contract/route.ts';
import type { Logger } from '../../platform/logging.ts';
import type { PgPool, PgPoolClient } from '../../platform/pg.ts';
import { acquireError, isRefusedLogin, isTooManyConnections } from './acquire-error.ts';
import { createBudget, type Budget } from './budget.ts';
import type { Credentials } from './credentials.ts';
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

export interface Lease {
  client: PgPoolClient;
  entry: Entry;
}

export interface PoolStats {
  pools: number;
  /** Connections that are open or being opened. */
  connections: number;
  busy: number;
  waiting: number;
}

export interface PoolLimits {
  /** Connections of the process, in all and to one server. */
  connections: number;
  connectionsPerServer: number;
  /** Connections of one tenant. */
  connectionsPerTenant: number;
  /** Milliseconds that a request waits for a connection. */
  waitMs: number;
  statementTimeoutMs: number;
}

interface Waiter {
  since: number;
  timer: NodeJS.Timeout;
  resolve: (lease: Lease) => void;
  reject: (error: unknown) => void;
}

/** A tenant's pool with those who wait for it. */
export interface Entry {
  key: string;
  route: LocalRoute;
  max: number;
  serverLimit: number;
  /** Absent until the credential has come. */
  pool: PgPool | undefined;
  credential: RouteCredential | undefined;
  /** Connections handed out or being opened. */
  busy: number;
  queue: Waiter[];
  isRetired: boolean;
}

interface State {
  logger: Logger;
  credentials: Credentials;
  limits: PoolLimits;
  budget: Budget;
  lru: LRUCache<string, Entry>;
  /** Entries whose waiters could open a connection if the budget had room. */
  starved: Set<Entry>;
  /** Idle connections that are being closed to make room. */
  evicting: number;
  /** Pools that are being ended, for close(). */
  ending: Set<Promise<void>>;
}

/** 10,000 empty pools take a few MB; connections are bounded by the budget, not by this. */
const MAX_POOLS = 10_000;
/** Others who wait for the budget get a busy tenant's connection when they have waited this much longer. */
const FAIR_WAIT_MS = 100;
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

/** An idle connection that no earlier caller of this tick has already been promised. */
function hasIdle(pool: PgPool): boolean {
  return pool.idleCount > pool.waitingCount;
}

function checkOut(entry: Entry, pool: PgPool): Promise<Lease> {
  entry.busy += 1;
  return new Promise((resolve, reject) => {
    pool.connect((error, client) => {
      if (client !== undefined) return resolve({ client, entry });
      entry.busy -= 1;
      reject(error ?? new Error('the pool returned no connection'));
    });
  });
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

function enqueue(state: State, entry: Entry, deadline: number): Promise<Lease> {
  return new Promise((resolve, reject) => {
    const since = performance.now();
    const timer = setTimeout(() => giveUp(state, entry, waiter), Math.max(0, deadline - since));
    const waiter: Waiter = { since, timer, resolve, reject };
    entry.queue.push(waiter);
    serve(state, entry);
  });
}

function giveUp(state: State, entry: Entry, waiter: Waiter): void {
  entry.queue.splice(entry.queue.indexOf(waiter), 1);
  afterQueue(state, entry);
  waiter.reject(
    new RoutingError({
      code: 'pool_exhausted',
      status: 503,
      message: 'all connections are busy',
      retryAfterS: 1,
    }),
  );
}

function settle(waiter: Waiter): Waiter {
  clearTimeout(waiter.timer);
  return waiter;
}

/** Gives connections to those who wait for this entry, as far as there are any. */
function serve(state: State, entry: Entry): void {
  while (entry.pool !== undefined && entry.queue.length > 0) {
    const { pool } = entry;
    const reusesIdle = hasIdle(pool);
    if (!reusesIdle) {
      if (pool.totalCount >= entry.max) break;
      if (!state.budget.reserve(entry.route.serverId, entry.serverLimit)) {
        state.starved.add(entry);
        makeRoom(state, entry);
        return;
      }
    }
    const waiter = entry.queue.shift();
    if (waiter === undefined) break;
    settle(waiter);
    const lease = checkOut(entry, pool);
    lease.then(waiter.resolve, (error: unknown) => {
      // A connection that never came to be tells its end by this rejection alone.
      if (!reusesIdle) freed(state, entry);
      waiter.reject(error);
    });
  }
  afterQueue(state, entry);
}

function afterQueue(state: State, entry: Entry): void {
  if (entry.queue.length > 0) return;
  state.starved.delete(entry);
  if (entry.isRetired) finish(state, entry);
}

function release(state: State, { client, entry }: Lease, broken: boolean): void {
  entry.busy -= 1;
  client.release(broken || yields(state, entry));
  if (entry.queue.length > 0) serve(state, entry);
  else if (state.starved.size > 0) relieve(state);
}

/** Whether a starved tenant has waited so much longer that this connection must make room for it. */
function yields(state: State, entry: Entry): boolean {
  const [starved] = state.starved;
  const theirs = starved?.queue[0];
  const own = entry.queue[0];
  if (theirs === undefined || own === undefined || starved === entry) return false;
  return theirs.since + FAIR_WAIT_MS < Math.min(own.since, performance.now());
}

/** Closes the idle connection of the tenant that was used least recently, on the full server where one is. */
function makeRoom(state: State, wanting: Entry): void {
  if (state.evicting >= state.starved.size) return;
  const { serverId } = wanting.route;
  const onServer = state.budget.serverIsFull(serverId, wanting.serverLimit);
  for (const entry of state.lru.rvalues()) {
    if (entry === undefined || entry === wanting || entry.pool === undefined) continue;
    if (entry.queue.length > 0) continue;
    if (!hasIdle(entry.pool) || (onServer && entry.route.serverId !== serverId)) continue;
    state.evicting += 1;
    void closeOneIdle(state, entry, entry.pool);
    return;
  }
}

async function closeOneIdle(state: State, entry: Entry, pool: PgPool): Promise<void> {
  try {
    const lease = await checkOut(entry, pool);
    entry.busy -= 1;
    const closed = new Promise<void>((resolve) => lease.client.once('end', resolve));
    lease.client.release(true);
    await closed;
  } catch (error) {
    state.logger.debug('an idle connection was gone before it was closed', { error });
  } finally {
    state.evicting -= 1;
    relieve(state);
  }
}

/** A connection is closed: its place is free. */
function freed(state: State, entry: Entry): void {
  state.budget.free(entry.route.serverId);
  // After the pool's own bookkeeping of the same event.
  setImmediate(() => {
    if (entry.queue.length > 0) serve(state, entry);
    else if (entry.pool?.totalCount === 0 && entry.busy === 0) forget(state, entry);
    relieve(state);
  });
}

/** An entry without connections is only a credential's user: the next request makes it anew. */
function forget(state: State, entry: Entry): void {
  if (state.lru.peek(entry.key) === entry) state.lru.delete(entry.key);
}

function relieve(state: State): void {
  for (const entry of [...state.starved]) serve(state, entry);
}

/** Out of the table: nobody finds it any more. Those who wait already are still served. */
function retire(state: State, entry: Entry): void {
  entry.isRetired = true;
  if (entry.queue.length === 0) finish(state, entry);
}

function finish(state: State, entry: Entry): void {
  const { pool } = entry;
  entry.pool = undefined;
  if (pool !== undefined) endPool(state, pool);
}

/** Ends as pg-pool ends: idle connections now, busy ones when they are released. */
function endPool(state: State, pool: PgPool): void {
  const ended: Promise<void> = pool
    .end()
    .catch((error: unknown) => {
      state.logger.warn('a pool did not end cleanly', { error });
    })
    .finally(() => state.ending.delete(ended));
  state.ending.add(ended);
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
