import { setMaxListeners } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import type { ClaimedTarget, TargetResult } from '../target-store.ts';

/**
 * Time to gather results before they are written, in milliseconds. A target takes about a hundred where 16 share the
 * machine: 60 more for one free slot of many cost nothing, and a batch of eight costs the registry, and this process,
 * a third less for each than one of four.
 */
const GATHER_MS = 60;
/** Gathering ends early when this share of the slots is free. */
const GATHER_SHARE = 0.5;
/** A process that stops waits this long for what is in flight; then it is left to the next owner. */
const STOP_MS = 10_000;

/**
 * What was in flight is cut and its outcome unknown, though the lease still holds: this owner has to give it up, so
 * that the next epoch finds the orphans and asks their databases.
 */
export class InterruptedError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'InterruptedError';
  }
}

/** Runs one target. Answers undefined when `signal` ended it; throws only for what is not the target's fault. */
export type RunTarget = (target: ClaimedTarget, signal: AbortSignal) => Promise<TargetResult | undefined>;

/** The targets that this process has in flight. */
export interface Slots {
  /** Started and not ended yet. */
  size(): number;
  /** Whether something is in flight, or has ended and is not taken yet. */
  isBusy(): boolean;
  onServer(serverId: string): number;
  start(target: ClaimedTarget): void;
  /** What has ended since the last call. */
  takeResults(): TargetResult[];
  /** Waits until there is something to write, or nothing in flight; at most `maxMs`. */
  changed(maxMs?: number): Promise<void>;
  /** @throws InterruptedError when targets were cut: free slots then do not mean that the targets have ended */
  throwIfBroken(): void;
  /** Cuts what is still in flight and waits until it is gone. Its outcome stays unknown. */
  close(): Promise<void>;
}

export function openSlots(
  run: RunTarget,
  parallel: number,
  signals: { signal: AbortSignal; stopping: AbortSignal },
  { stopMs }: { stopMs: number } = { stopMs: STOP_MS },
): Slots {
  const cut = new AbortController();
  const signal = AbortSignal.any([signals.signal, cut.signal]);
  // Every target in flight listens a few times: that is no leak.
  setMaxListeners(0, signal);
  const enough = Math.max(1, Math.floor(parallel * GATHER_SHARE));
  const running = new Map<string, { serverId: string; ended: Promise<void> }>();
  let results: TargetResult[] = [];
  let broken: InterruptedError | undefined;
  const bell = createBell();

  const breakOff = (why: string, cause?: unknown): void => {
    broken ??= new InterruptedError(why, cause);
    cut.abort();
  };
  const breakOffStopped = (): void => {
    if (running.size > 0)
      breakOff(`${running.size} targets were still in flight when the process had to stop`);
  };
  const stopLater = (): void =>
    void wait(stopMs, undefined, { signal, ref: false }).then(breakOffStopped, ignore);
  if (signals.stopping.aborted) stopLater();
  else signals.stopping.addEventListener('abort', stopLater, { once: true });

  const carry = async (target: ClaimedTarget): Promise<void> => {
    const result = await run(target, signal);
    if (result !== undefined) results.push(result);
  };
  return {
    size: () => running.size,
    isBusy: () => running.size > 0 || results.length > 0,
    onServer: (serverId) => [...running.values()].filter((slot) => slot.serverId === serverId).length,
    start: (target) => {
      // A throw here is ours, not the target's (the registry is gone): its outcome is for the next owner to find.
      const ended = carry(target)
        .catch((error: unknown) => breakOff(`the run of ${target.slug} broke off`, error))
        .finally(() => {
          running.delete(target.databaseId);
          bell.ring();
        });
      running.set(target.databaseId, { serverId: target.serverId, ended });
    },
    takeResults: () => {
      const taken = results;
      results = [];
      return taken;
    },
    changed: async (maxMs = Infinity) => {
      await waitUntil(bell, maxMs, () => running.size === 0 || results.length > 0);
      if (results.length === 0) return;
      await waitUntil(bell, GATHER_MS, () => running.size === 0 || results.length >= enough);
    },
    throwIfBroken: () => {
      if (broken !== undefined) throw broken;
    },
    close: async () => {
      signals.stopping.removeEventListener('abort', stopLater);
      cut.abort();
      await Promise.all([...running.values()].map((slot) => slot.ended));
    },
  };
}

async function waitUntil(bell: Bell, maxMs: number, isSo: () => boolean): Promise<void> {
  const latest = performance.now() + maxMs;
  while (!isSo() && performance.now() < latest) await bell.nextWithin(latest - performance.now());
}

interface Bell {
  ring(): void;
  nextWithin(ms: number): Promise<void>;
}

/** Wakes the one who waits for the next event. */
function createBell(): Bell {
  let wake = (): void => undefined;
  return {
    ring: () => wake(),
    nextWithin: (ms) =>
      new Promise((resolve) => {
        const timer = ms === Infinity ? undefined : setTimeout(() => wake(), ms);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      }),
  };
}

function ignore(): void {
  // The wait was ended because the slots are closed already.
}
