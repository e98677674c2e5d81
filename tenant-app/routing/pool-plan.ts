import type { Entry } from './pool-state.ts';

/** 5 ms: most queries take less, so a connection in use is free sooner than another one could be opened. */
const GROW_AFTER_MS = 5;
/** 100 ms: however many are being opened elsewhere, a tenant whose queries are slow must be able to grow. */
const GROW_AFTER_MOST_MS = 100;

/**
 * 0.5 s: longer than requests wait on a machine that is merely busy, a sixth of what they wait at most. The one
 * who loses his connection for it pays for a new one, too.
 */
const TAKE_AFTER_MS = 500;
/** Others who wait for the budget get a busy tenant's connection when they have waited this much longer. */
const FAIR_WAIT_MS = 100;
/** 30 s: half of the time after which a connection is closed anyway; a pause in all traffic is shorter. */
const UNUSED_MS = 30_000;
/** Orders tenants without any connection before all others; more than any process lives, in milliseconds. */
const FIRST = 1e15;

/**
 * Milliseconds until the entry may have another connection, if its waiters are still there; 0 is now. The first
 * one at once. Another one the later the more are being opened in all, `openings`: each costs the server 10 ms
 * of work, so that while there are many, waits are long because of them, and still more would not help.
 */
export function growsIn(entry: Entry, openings: number, now: number): number {
  if (entry.total === 0) return 0;
  if (entry.fullUntil > now) return entry.fullUntil - now;
  // Those before it get the connections that are being opened.
  const waitedMs = now - (entry.queue[entry.opening]?.since ?? now);
  return Math.max(0, growAfter(openings) - waitedMs);
}

/**
 * Milliseconds until the entry may have one that another tenant has used a moment ago: the more it has, the
 * later. Two tenants that are in want would otherwise take it from each other for ever.
 */
export function takesIn(entry: Entry, now: number): number {
  const waitedMs = now - (entry.queue[0]?.since ?? now);
  return Math.max(0, TAKE_AFTER_MS * entry.total - waitedMs);
}

function growAfter(openings: number): number {
  return Math.min(GROW_AFTER_MOST_MS, GROW_AFTER_MS * (1 + openings));
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

/**
 * Whether one of the starved has waited so much longer that the entry's connection must make room for it: one
 * without any connection, or one that has fewer even afterwards, so that nothing goes back and forth.
 */
export function mustYield(entry: Entry, starved: Iterable<Entry>): boolean {
  let neediest: Entry | undefined;
  for (const other of starved) {
    if (neediest === undefined || need(other) < need(neediest)) neediest = other;
  }
  const theirs = neediest?.queue[0];
  const own = entry.queue[0];
  if (neediest === undefined || theirs === undefined || own === undefined || neediest === entry) return false;
  const isFair = neediest.total === 0 || neediest.total + 1 < entry.total;
  return isFair && theirs.since + FAIR_WAIT_MS < own.since;
}
