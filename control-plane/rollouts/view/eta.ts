import type { RolloutEta } from '../../../contract/progress.ts';
import type { WaveState } from '../../../contract/rollout.ts';

/** When a rollout will be over by the pace of now. Pure; all times in milliseconds. */
export interface EtaInput {
  now: Date;
  /** Targets in all waves. */
  total: number;
  /** How long each of those took that ended last. */
  recentMs: readonly number[];
  waves: readonly EtaWave[];
}

export interface EtaWave {
  ordinal: number;
  state: WaveState;
  dependsOn: readonly number[];
  parallel: number;
  perServer: number;
  /** Targets that have not begun, by server. */
  waiting: ReadonlyMap<string, number>;
  running: readonly EtaTarget[];
  /** Until the last window opens that one of its targets waits for; null for none. */
  closedMs: number | null;
  /** From the end of its targets, or from now where they have ended. */
  bakeMs: number;
  gatesMs: number;
  /** Whether the waves behind it wait for somebody's word. */
  lacksApproval: boolean;
}

export interface EtaTarget {
  server: string;
  elapsedMs: number;
  /** What its backfill says of itself. */
  backfillMs: number | null;
  /** Whether its backfill stands still until somebody, or a server, lets it go on. */
  held: boolean;
}

/** Of five targets the mean says something; of a few in all, a tenth of them has to do. */
const ENOUGH_ENDED = 5;
const ENOUGH_SHARE = 0.1;
/** One target that took an hour must not make hours of all others: beyond four times the median it counts as that. */
const OUTLIER = 4;
/** Halvings in the search for the shortest time: 40 tell a millisecond in thirty years. */
const HALVINGS = 40;

/** Null until the pace means something, and while a target is held: nobody knows until when. */
export function estimateEnd(input: EtaInput): RolloutEta | null {
  if (input.waves.some(({ running }) => running.some(({ held }) => held))) return null;
  const targetMs = paceOf(input);
  if (targetMs === null) return null;
  const ends = new Map<number, number>();
  for (const wave of input.waves) endOf(wave, input.waves, targetMs, ends);
  const reached = [...ends.values()].filter(Number.isFinite);
  const ms = Math.max(0, ...reached);
  return {
    at: new Date(input.now.getTime() + ms).toISOString(),
    seconds: Math.round(ms / 1_000),
    until: reached.length < ends.size ? 'approval' : 'end',
  };
}

/** What a target takes: the mean of those that ended last, and of what running backfills promise. */
function paceOf({ recentMs, total, waves }: EtaInput): number | null {
  const promised = waves.flatMap(({ running }) =>
    running.flatMap(({ elapsedMs, backfillMs }) => (backfillMs === null ? [] : [elapsedMs + backfillMs])),
  );
  const samples = [...recentMs, ...promised].sort((a, b) => a - b);
  if (samples.length < Math.max(1, Math.min(ENOUGH_ENDED, Math.ceil(total * ENOUGH_SHARE)))) return null;
  const most = (samples[Math.floor(samples.length / 2)] ?? 0) * OUTLIER;
  return samples.reduce((sum, each) => sum + Math.min(each, most), 0) / samples.length;
}

/** Milliseconds from now to the end of the wave; infinite where it waits for somebody's word. */
function endOf(
  wave: EtaWave,
  waves: readonly EtaWave[],
  targetMs: number,
  ends: Map<number, number>,
): number {
  const known = ends.get(wave.ordinal);
  if (known !== undefined) return known;
  const before = waves.filter((other) => wave.dependsOn.includes(other.ordinal));
  const startMs = Math.max(
    0,
    ...before.map((other) => (other.lacksApproval ? Infinity : endOf(other, waves, targetMs, ends))),
  );
  const begun = wave.state !== 'pending';
  const end = wave.state === 'passed' ? 0 : (begun ? 0 : startMs) + lengthOf(wave, targetMs);
  ends.set(wave.ordinal, end);
  return end;
}

function lengthOf(wave: EtaWave, targetMs: number): number {
  const targets = wave.state === 'baking' || wave.state === 'gating' ? 0 : targetsMs(wave, targetMs);
  return targets + Math.max(wave.bakeMs, wave.gatesMs);
}

/** Until the last target of the wave ends, within `parallel`, and within `perServer` on each server. */
function targetsMs(wave: EtaWave, targetMs: number): number {
  const left = wave.running.map((target) => ({ server: target.server, ms: leftOf(target, targetMs) }));
  const waiting = [...wave.waiting.values()].reduce((sum, count) => sum + count, 0);
  const servers = new Set([...wave.waiting.keys(), ...left.map(({ server }) => server)]);
  const onServers = [...servers].map((server) => {
    const here = left.filter((target) => target.server === server).map(({ ms }) => ms);
    return slotsMs(here, wave.waiting.get(server) ?? 0, wave.perServer, targetMs);
  });
  const inAll = left.map(({ ms }) => ms);
  const closed = wave.closedMs === null ? 0 : Math.max(0, wave.closedMs) + targetMs;
  return Math.max(slotsMs(inAll, waiting, wave.parallel, targetMs), closed, ...onServers);
}

/** One that is over its time is taken to need as much again as it is over. */
function leftOf({ elapsedMs, backfillMs }: EtaTarget, targetMs: number): number {
  return backfillMs ?? Math.abs(targetMs - elapsedMs);
}

/** The shortest time in which `slots`, some of them busy for a while yet, take `waiting` targets. */
function slotsMs(busy: readonly number[], waiting: number, slots: number, targetMs: number): number {
  const longest = Math.max(0, ...busy);
  if (waiting === 0) return longest;
  const free = [...busy, ...Array.from({ length: Math.max(0, slots - busy.length) }, () => 0)];
  // A little more than n times the length holds n, whatever the division rounds to.
  const taken = (ms: number): number =>
    free.reduce((sum, from) => sum + Math.max(0, Math.floor((ms - from) / targetMs + 1e-9)), 0);
  if (targetMs === 0) return longest;
  let [none, all] = [0, longest + waiting * targetMs];
  for (let halving = 0; halving < HALVINGS; halving += 1) {
    const middle = (none + all) / 2;
    if (taken(middle) >= waiting) all = middle;
    else none = middle;
  }
  return Math.max(longest, all);
}
