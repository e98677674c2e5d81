import { RoutingError } from './problem.ts';
import { checkOut, hasIdle, type Entry, type Lease, type State, type Waiter } from './pool-state.ts';
import type { PgPool } from '../../platform/pg.ts';

/** Others who wait for the budget get a busy tenant's connection when they have waited this much longer. */
const FAIR_WAIT_MS = 100;
export function enqueue(state: State, entry: Entry, deadline: number): Promise<Lease> {
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

export function settle(waiter: Waiter): Waiter {
  clearTimeout(waiter.timer);
  return waiter;
}

/** Gives connections to those who wait for this entry, as far as there are any. */
export function serve(state: State, entry: Entry): void {
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

export function release(state: State, { client, entry }: Lease, broken: boolean): void {
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
export function freed(state: State, entry: Entry): void {
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
export function retire(state: State, entry: Entry): void {
  entry.isRetired = true;
  if (entry.queue.length === 0) finish(state, entry);
}

function finish(state: State, entry: Entry): void {
  const { pool } = entry;
  entry.pool = undefined;
  if (pool !== undefined) endPool(state, pool);
}

/** Ends as pg-pool ends: idle connections now, busy ones when they are released. */
export function endPool(state: State, pool: PgPool): void {
  const ended: Promise<void> = pool
    .end()
    .catch((error: unknown) => {
      state.logger.warn('a pool did not end cleanly', { error });
    })
    .finally(() => state.ending.delete(ended));
  state.ending.add(ended);
}
