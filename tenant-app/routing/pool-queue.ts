import { isRefusedLogin, isTooManyConnections } from './acquire-error.ts';
import { growsIn, leastMissed, mustYield, need, takesIn } from './pool-plan.ts';
import type { Connection, Entry, PoolsState, Waiter } from './pool-state.ts';
import { credentialUnavailable, RoutingError } from './problem.ts';
import { connectTo, prepareClient } from './tenant-connection.ts';

/** A living server closes its side within milliseconds of the good-bye. */
const CLOSE_MS = 1_000;

/** 1 s: a try that the server refuses costs it as much as a session, and its places are with other processes. */
const FULL_PAUSE_MS = 1_000;

/** Waits for a connection of the entry. */
export function enqueue(state: PoolsState, entry: Entry): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const waiter: Waiter = {
      entry,
      since: performance.now(),
      resolve,
      reject,
      end: 0,
      older: undefined,
      newer: undefined,
    };
    entry.queue.push(waiter);
    state.waiting.add(waiter);
    serve(state, entry);
  });
}

/** A waiter's time is over. */
export function giveUp(state: PoolsState, waiter: Waiter): void {
  const { entry } = waiter;
  entry.queue.splice(entry.queue.indexOf(waiter), 1);
  if (entry.queue.length === 0) state.starved.delete(entry);
  // Nothing was ever busy: who has the credential did not answer in time.
  if (entry.credential === undefined) return waiter.reject(credentialUnavailable());
  waiter.reject(
    new RoutingError({
      code: 'pool_exhausted',
      status: 503,
      message: 'all connections are busy',
      retryAfterS: 1,
    }),
  );
}

/** The one who has waited longest; from now on no longer a waiter. */
export function nextWaiter(state: PoolsState, entry: Entry): Waiter | undefined {
  const waiter = entry.queue.shift();
  if (waiter !== undefined) state.waiting.delete(waiter);
  if (entry.queue.length === 0) state.starved.delete(entry);
  return waiter;
}

/** Opens as many connections as are waited for, as far as the tenant's bound and the budget allow. */
export function serve(state: PoolsState, entry: Entry): void {
  while (entry.credential !== undefined && entry.queue.length > entry.opening && entry.total < entry.max) {
    if (!mayGrow(state, entry)) return;
    if (!state.budget.reserve(entry.route.serverId, entry.serverLimit)) {
      state.starved.add(entry);
      makeRoom(state, entry);
      return;
    }
    void open(state, entry);
  }
}

/** Whether now is the time; if not, it comes back to the entry when it may be. */
function mayGrow(state: PoolsState, entry: Entry): boolean {
  if (entry.total === 0) return true;
  if (entry.growTimer !== undefined) return false;
  const inMs = growsIn(entry, state.opening, performance.now());
  if (inMs > 0) checkIn(state, entry, inMs);
  return inMs <= 0;
}

function checkIn(state: PoolsState, entry: Entry, ms: number): void {
  entry.growTimer = setTimeout(
    () => {
      entry.growTimer = undefined;
      serve(state, entry);
    },
    // Rounded up: a timer may come a little early, and must not come again for that.
    Math.ceil(ms),
  ).unref();
}

/** Never rejects: a failure is told to the one who has waited longest, unless others can still serve him. */
async function open(state: PoolsState, entry: Entry): Promise<void> {
  const { route, credential } = entry;
  if (credential === undefined) return;
  entry.total += 1;
  entry.opening += 1;
  state.opening += 1;
  const { client, socket } = prepareClient(route, credential, state.limits.statementTimeoutMs);
  const connection: Connection = {
    client,
    socket,
    entry,
    idleSince: 0,
    isClosing: false,
    evictedFor: undefined,
    isGone: false,
  };
  // The one event that comes whatever way a connection ends.
  client.once('end', () => freed(state, connection));
  try {
    await entry.breaker.run(() => connectTo(client, route, state.logger));
    entry.opening -= 1;
    state.opening -= 1;
    offer(state, connection);
  } catch (error) {
    entry.opening -= 1;
    state.opening -= 1;
    if (isRefusedLogin(error)) entry.refused = credential;
    const isFull = isTooManyConnections(error) && entry.total > 1;
    if (isFull) entry.fullUntil = performance.now() + FULL_PAUSE_MS;
    // Where the tenant has other connections, those who wait get one of them.
    const waiter = isFull ? undefined : nextWaiter(state, entry);
    close(connection);
    freed(state, connection);
    waiter?.reject(error);
  }
}

/** Hands a usable connection to the next waiter, or keeps it. */
function offer(state: PoolsState, connection: Connection): void {
  const { entry } = connection;
  const waiter = nextWaiter(state, entry);
  if (waiter !== undefined) {
    // One that is gone meanwhile fails the first query, as it would have failed under it a moment later.
    waiter.resolve(connection);
  } else if (connection.isGone) {
    return;
  } else if (entry.isRetired) {
    close(connection);
  } else {
    connection.idleSince = performance.now();
    entry.idle.push(connection);
    if (state.starved.size > 0) relieve(state);
  }
}

/** Takes a connection back. `broken`: it is closed, and another one is opened for those who wait. */
export function release(state: PoolsState, connection: Connection, broken: boolean): void {
  if (broken || connection.isGone || mustYield(connection.entry, state.starved)) close(connection);
  else offer(state, connection);
}

/** Closes an idle connection, on the full server where one is full, so that its place becomes free. */
function makeRoom(state: PoolsState, wanting: Entry): void {
  if (wanting.isRoomComing) return;
  const { serverId } = wanting.route;
  const now = performance.now();
  const inMs = takesIn(wanting, now);
  const victim = leastMissed(state.lru.values(), {
    serverId: state.budget.serverIsFull(serverId, wanting.serverLimit) ? serverId : undefined,
    mayTake: inMs <= 0,
    now,
  })?.idle.shift();
  if (victim === undefined) {
    if (inMs > 0) checkIn(state, wanting, inMs);
    return;
  }
  victim.evictedFor = wanting;
  wanting.isRoomComing = true;
  close(victim);
}

/** Closes a connection: at once where a statement runs on it, politely otherwise. */
export function close(connection: Connection): void {
  if (connection.isClosing || connection.isGone) return;
  connection.isClosing = true;
  // What goes wrong with it now ends in the same event: its socket is closed.
  connection.client.end().catch(() => undefined);
  // A server that has gone silent never closes its side; the place would stay taken for ever.
  const cut = setTimeout(() => connection.socket.destroy(), CLOSE_MS);
  connection.client.once('end', () => clearTimeout(cut));
}

/** The socket of a connection is closed, or it never came to be: its place is free. */
export function freed(state: PoolsState, connection: Connection): void {
  const { entry } = connection;
  if (connection.isGone) return;
  connection.isGone = true;
  const place = entry.idle.indexOf(connection);
  if (place >= 0) entry.idle.splice(place, 1);
  entry.total -= 1;
  state.budget.free(entry.route.serverId);
  if (entry.total === 0 && state.leaving.delete(entry)) state.onLeft();
  if (connection.evictedFor !== undefined) connection.evictedFor.isRoomComing = false;
  // A place is free now, so that nobody has to wait for another tenant's.
  for (const starved of state.starved) cancelCheck(starved);
  // Who starves comes first: this may be the place that its own tenant was made to give up.
  relieve(state);
  if (entry.queue.length > 0) serve(state, entry);
  // Without connections an entry is of no use; the next request makes it anew.
  else if (entry.total === 0 && state.lru.peek(entry.key) === entry) state.lru.delete(entry.key);
  if (state.ended.signal.aborted && state.budget.used() === 0) state.onEmpty();
}

function cancelCheck(entry: Entry): void {
  clearTimeout(entry.growTimer);
  entry.growTimer = undefined;
}

/** Serves the starved in the order of their need. */
function relieve(state: PoolsState): void {
  const starved = [...state.starved];
  if (starved.length > 1) starved.sort((a, b) => need(a) - need(b));
  for (const entry of starved) serve(state, entry);
}

/** Out of the table: nobody finds it any more. Those who wait already are still served. */
export function retire(entry: Entry): void {
  entry.isRetired = true;
  for (const connection of entry.idle.splice(0)) close(connection);
}
