import type { Entry } from './pool-state.ts';

/** 5 ms: most queries take less, so a connection in use is free sooner than that. */
const GROW_AFTER_MS = 5;
/** 100 ms: even when openings take longer for a while, a tenant whose queries are slow must be able to grow. */
const GROW_AFTER_MOST_MS = 100;
/** 10 ms: what an opening costs a server at rest, before one was measured. */
export const FIRST_OPENING_MS = 10;
/** One opening of eight: follows a load that lasts a second, and not a single slow one. */
const OPENING_WEIGHT = 1 / 8;

/** Ten times the wait for a free place: the one who loses his connection pays for a new one, too. */
const TAKE_FACTOR = 10;
/** Others who wait for the budget get a busy tenant's connection when they have waited this much longer. */
const FAIR_WAIT_MS = 100;
/** 5 s: who comes less often pays little when his connection is gone, 10 ms in 5 s. */
const UNUSED_MS = 5_000;
/** Orders tenants without any connection before all others; more than any process lives, in milliseconds. */
const FIRST = 1e15;

/** The time that an opening takes now, after one that took `tookMs`. */
export function openingTime(before: number, tookMs: number): number {
  return before + (tookMs - before) * OPENING_WEIGHT;
}

/**
 * Milliseconds until the entry may have another connection, if its waiters are still there; 0 is now. The first
 * one at once. Another one when waiting has cost as much as its opening would: that is at most twice of what
 * the best choice costs, and a machine that is busy with opening is not asked for still more.
 */
export function growsIn(entry: Entry, openingMs: number, now: number): number {
  if (entry.total === 0) return 0;
  // Those before it get the connections that are being opened.
  const waitedMs = now - (entry.queue[entry.opening]?.since ?? now);
  return Math.max(0, growAfter(openingMs) * (1 + entry.opening) - waitedMs);
}

/** Milliseconds until the entry may have one that another tenant has used a moment ago: the more it has, the later. */
export function takesIn(entry: Entry, openingMs: number, now: number): number {
  const waitedMs = now - (entry.queue[0]?.since ?? now);
  return Math.max(0, growAfter(openingMs) * TAKE_FACTOR * entry.total - waitedMs);
}

function growAfter(openingMs: number): number {
  return Math.min(GROW_AFTER_MOST_MS, Math.max(GROW_AFTER_MS, openingMs));
}

/**
 * Whose idle connection is missed least, for another tenant: that of the longest rest. A tenant's only one
 * counts as `UNUSED_MS` younger than a spare one, so that tenants who come seldom keep theirs while busy ones
 * have several. `mayTake`: else only those count that have rested for `UNUSED_MS`. Never a busy one.
 */
export function leastMissed(
  entries: Iterable<Entry>,
  choice: { serverId: string | undefined; mayTake: boolean; now: number },
): Entry | undefined {
  let found: Entry | undefined;
  let most = -Infinity;
  for (const entry of entries) {
    const idle = entry.idle[0];
    if (idle === undefined || (choice.serverId !== undefined && entry.route.serverId !== choice.serverId))
      continue;
    const restedMs = choice.now - idle.idleSince;
    const score = entry.total > 1 ? restedMs + UNUSED_MS : restedMs;
    if (score <= most || !(choice.mayTake || restedMs >= UNUSED_MS)) continue;
    found = entry;
    most = score;
  }
  return found;
}

/** Orders those who wait for a place: who has no connection at all comes first, then who waits longest. */
export function need(entry: Entry): number {
  return (entry.queue[0]?.since ?? FIRST) - (entry.total === 0 ? FIRST : 0);
}

/** Whether one of the starved has waited so much longer that the entry's connection must make room for it. */
export function mustYield(entry: Entry, starved: Iterable<Entry>): boolean {
  let neediest: Entry | undefined;
  for (const other of starved) {
    if (neediest === undefined || need(other) < need(neediest)) neediest = other;
  }
  const theirs = neediest?.queue[0];
  const own = entry.queue[0];
  if (theirs === undefined || own === undefined || neediest === entry) return false;
  return theirs.since + FAIR_WAIT_MS < own.since;
}
