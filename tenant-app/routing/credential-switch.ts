import { backOffMs, sleep } from '../../platform/wait.ts';
import { isTooManyConnections } from './acquire-error.ts';
import { close, enqueue, release, serve } from './pool-queue.ts';
import type { Connection, Entry, PoolsState } from './pool-state.ts';

/**
 * How a pool takes over another credential of the same database without a request noticing: what is open goes on
 * serving, until one connection has been opened with the new credential and has proven to be of the right database.
 * Then the new pool takes the old one's place, and the old connections are closed as they come back. While the new
 * credential does not work, nothing changes, and the control plane is not told that it was taken over.
 */
export interface CredentialSwitch {
  /** The pool that has served so far. */
  entry: Entry;
  /** Key of the pool that follows. */
  key: string;
  /** Version of the route table without the new credential. */
  before: string;
}

/** Pauses between attempts with a credential that does not work; the old one goes on meanwhile. */
const RETRY = { firstMs: 500, maxMs: 10_000 };

/** `make` makes the pool that follows, which nobody finds yet. */
export function switchCredential(state: PoolsState, change: CredentialSwitch, make: () => Entry): void {
  const { entry, key, before } = change;
  // Nothing is open: the next request opens with the new credential.
  if (entry.total === 0) return leave(state, entry, before);
  state.leaving.set(entry, state.leaving.get(entry) ?? BigInt(before));
  state.standIns.set(key, entry);
  void prove(state, change, make);
}

/** Out of use: it counts as leaving until its last connection is closed. */
export function leave(state: PoolsState, entry: Entry, before: string): void {
  if (entry.total > 0) state.leaving.set(entry, state.leaving.get(entry) ?? BigInt(before));
  state.lru.delete(entry.key);
  if (entry.total === 0) state.onLeft();
}

/** Never rejects. */
async function prove(state: PoolsState, { entry, key }: CredentialSwitch, make: () => Entry): Promise<void> {
  // Another credential may come before this one is proven; its own switch then has the pool.
  const isWanted = (): boolean => state.standIns.get(key) === entry;
  for (let tries = 1; isWanted(); tries += 1) {
    const next = make();
    try {
      const connection = await enqueue(state, next);
      if (isWanted()) takePlace(state, entry, next, connection);
      else close(connection);
      return;
    } catch (error) {
      state.logger.warn('a new credential does not open its database yet; the old connections go on', {
        tenant: entry.route.slug,
        error,
      });
      // The database may have no place left but for one of ours.
      const spare = isTooManyConnections(error) ? entry.idle.shift() : undefined;
      if (spare !== undefined) close(spare);
      await sleep(backOffMs(tries, RETRY), state.ended.signal);
    }
  }
}

function takePlace(state: PoolsState, old: Entry, next: Entry, connection: Connection): void {
  state.standIns.delete(next.key);
  state.lru.set(next.key, next);
  for (const waiter of old.queue.splice(0)) {
    waiter.entry = next;
    next.queue.push(waiter);
  }
  state.starved.delete(old);
  state.lru.delete(old.key);
  release(state, connection, false);
  serve(state, next);
}
