import { mayBeInFlight, exceeded, type Tally } from './budget.ts';
import type { Budget } from '../../../contract/rollout.ts';
import type { WaveGates } from './gating.ts';
import type { Outage } from './outage-store.ts';
import type { WaitingTarget } from '../target-store.ts';
import type { WaveTally } from './wait-store.ts';
import type { WaveRecord } from '../wave-store.ts';

/** A wave that runs, in the memory of the one driver that claims its targets. */
export interface OpenWave {
  wave: WaveRecord;
  tally: WaveTally;
  /** In the order of the plan; null once taken. */
  queue: (WaitingTarget | null)[];
  /** Everything before it is taken. */
  head: number;
  inFlight: number;
  gates: WaveGates | undefined;
}

/** What bounds the claims of all waves together. */
export interface Bounds {
  now: Date;
  /** The budget over all waves, where there is one. */
  budget: Budget | undefined;
  tally: Tally;
  inFlight: number;
  onServer(serverId: string): number;
  outages: ReadonlyMap<string, Outage>;
}

export interface Pick {
  open: OpenWave;
  index: number;
  target: WaitingTarget;
}

/**
 * What to claim now, from the waves in their order. Never more in flight than the wave's `parallel`, than what is
 * left of each budget and one, and on each server, over all waves, than the wave's `perServer`. Of a server that did
 * not answer one target at a time, when its instant has come.
 */
export function pickTargets(waves: readonly OpenWave[], bounds: Bounds): Pick[] {
  const picked: Pick[] = [];
  const added = new Map<string, number>();
  const overall =
    bounds.budget === undefined
      ? Infinity
      : mayBeInFlight(bounds.budget, bounds.tally, Number.MAX_SAFE_INTEGER) - bounds.inFlight;
  for (const open of waves) {
    let free = mayBeInFlight(open.wave.budget, open.tally, open.wave.parallel) - open.inFlight;
    skipTaken(open);
    for (
      let index = open.head;
      index < open.queue.length && free > 0 && picked.length < overall;
      index += 1
    ) {
      const target = open.queue[index];
      if (target === null || target === undefined || !mayRun(open, target, bounds)) continue;
      const busy = bounds.onServer(target.serverId) + (added.get(target.serverId) ?? 0);
      if (busy >= serverLimit(open, target, bounds)) continue;
      added.set(target.serverId, (added.get(target.serverId) ?? 0) + 1);
      picked.push({ open, index, target });
      free -= 1;
    }
  }
  return picked;
}

function skipTaken(open: OpenWave): void {
  while (open.head < open.queue.length && open.queue[open.head] === null) open.head += 1;
}

/**
 * Over budget only what has run before: that is what `retry` of a single tenant asked for, while the wave's other
 * targets stay untouched.
 */
function mayRun(open: OpenWave, target: WaitingTarget, bounds: Bounds): boolean {
  if (target.tries > 0) return true;
  if (exceeded(open.wave.budget, open.tally) !== undefined) return false;
  return bounds.budget === undefined || exceeded(bounds.budget, bounds.tally) === undefined;
}

function serverLimit(open: OpenWave, target: WaitingTarget, bounds: Bounds): number {
  const outage = bounds.outages.get(target.serverId);
  if (outage === undefined) return open.wave.perServer;
  return outage.nextTryAt <= bounds.now ? 1 : 0;
}

/** Whether something of the wave's queue is left to be claimed. */
export function hasWaiting(open: OpenWave): boolean {
  skipTaken(open);
  return open.head < open.queue.length;
}

export function isDrained(open: OpenWave): boolean {
  return open.inFlight === 0 && !hasWaiting(open);
}
