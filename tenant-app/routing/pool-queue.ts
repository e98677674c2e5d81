import { isRefusedLogin } from './acquire-error.ts';
import type { Connection, Entry, PoolsState, Waiter } from './pool-state.ts';
import { RoutingError } from './problem.ts';
import { connectTo, prepareClient } from './tenant-connection.ts';

/** Others who wait for the budget get a busy tenant's connection when they have waited this much longer. */
const FAIR_WAIT_MS = 100;

/**
 * A tenant that has a connection gets another one for those who have waited 5 ms: a query takes less, so the
 * first will be free sooner than the second could be opened, which costs the server 10 ms of work.
 */
const GROW_AFTER_MS = 5;

/** A living server closes its side within milliseconds of the good-bye. */
const CLOSE_MS = 1_000;

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

function mayGrow(state: PoolsState, entry: Entry): boolean {
  if (entry.total === 0) return true;
  const since = entry.queue[entry.opening]?.since ?? 0;
  const waited = performance.now() - since;
  if (waited >= GROW_AFTER_MS) return true;
  entry.growTimer ??= setTimeout(
    () => {
      entry.growTimer = undefined;
      serve(state, entry);
      // Rounded up: a timer may come a little early, and must not come again for that.
    },
    Math.ceil(GROW_AFTER_MS - waited),
  ).unref();
  return false;
}

/** Never rejects: a failure is told to the one who has waited longest. */
async function open(state: PoolsState, entry: Entry): Promise<void> {
  const { route, credential } = entry;
  if (credential === undefined) return;
  entry.total += 1;
  entry.opening += 1;
  const { client, socket } = prepareClient(route, credential, state.limits.statementTimeoutMs);
  const connection: Connection = {
    client,
    socket,
    entry,
    idleSince: 0,
    isClosing: false,
    isEvicted: false,
    isGone: false,
  };
  // The one event that comes whatever way a connection ends.
  client.once('end', () => freed(state, connection));
  try {
    await entry.breaker.run(() => connectTo(client, route, state.logger));
    entry.opening -= 1;
    offer(state, connection);
  } catch (error) {
    entry.opening -= 1;
    if (isRefusedLogin(error)) entry.refused = credential;
    const waiter = nextWaiter(state, entry);
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
  if (broken || connection.isGone || yields(state, connection.entry)) close(connection);
  else offer(state, connection);
}

/** Whether a starved tenant has waited so much longer that this connection must make room for it. */
function yields(state: PoolsState, entry: Entry): boolean {
  if (state.starved.size === 0) return false;
  const [starved] = state.starved;
  const theirs = starved?.queue[0];
  const own = entry.queue[0];
  if (theirs === undefined || own === undefined || starved === entry) return false;
  return theirs.since + FAIR_WAIT_MS < own.since;
}

/** Closes the connection that was idle longest, on the full server where one is full. Never a busy one. */
function makeRoom(state: PoolsState, wanting: Entry): void {
  if (state.evicting >= state.starved.size) return;
  const { serverId } = wanting.route;
  const onServer = state.budget.serverIsFull(serverId, wanting.serverLimit);
  let oldest: Entry | undefined;
  // By connection, not by tenant: a busy tenant's spare ones go before a quiet tenant's only one.
  for (const entry of state.lru.values()) {
    const idle = entry.idle[0];
    if (idle === undefined || (onServer && entry.route.serverId !== serverId)) continue;
    if (idle.idleSince < (oldest?.idle[0]?.idleSince ?? Infinity)) oldest = entry;
  }
  const victim = oldest?.idle.shift();
  if (victim === undefined) return;
  victim.isEvicted = true;
  state.evicting += 1;
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
  if (connection.isEvicted) state.evicting -= 1;
  // Who starves comes first: this may be the place that its own tenant was made to give up.
  relieve(state);
  if (entry.queue.length > 0) serve(state, entry);
  // Without connections an entry is of no use; the next request makes it anew.
  else if (entry.total === 0 && state.lru.peek(entry.key) === entry) state.lru.delete(entry.key);
  if (state.isClosed && state.budget.used() === 0) state.onEmpty();
}

function relieve(state: PoolsState): void {
  for (const entry of [...state.starved]) serve(state, entry);
}

/** Out of the table: nobody finds it any more. Those who wait already are still served. */
export function retire(entry: Entry): void {
  entry.isRetired = true;
  for (const connection of entry.idle.splice(0)) close(connection);
}
