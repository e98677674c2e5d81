import { setMaxListeners } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { migrateTarget, type TargetRun } from './target.ts';
import type { ClaimedTarget, TargetResult } from './target-store.ts';

/**
 * Time to gather results before they are written, in milliseconds. A target takes tens of milliseconds: ten more for
 * one free slot of many costs nothing, and a batch of four costs the registry what one result would.
 */
const GATHER_MS = 10;
/** Gathering ends early when this share of the slots is free. */
const GATHER_SHARE = 0.25;
/** A process that stops waits this long for what is in flight; then it is left to the next owner. */
const STOP_MS = 10_000;

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
  /** Waits until there is something to write, or nothing in flight. */
  changed(): Promise<void>;
  /** Cuts what is still in flight and waits until it is gone. Its outcome stays unknown. */
  close(): Promise<void>;
}

export function openSlots(
  run: TargetRun,
  parallel: number,
  signals: { signal: AbortSignal; stopping: AbortSignal },
): Slots {
  const cut = new AbortController();
  const signal = AbortSignal.any([signals.signal, cut.signal]);
  // Every target in flight listens a few times: that is no leak.
  setMaxListeners(0, signal);
  const enough = Math.max(1, Math.floor(parallel * GATHER_SHARE));
  const running = new Map<string, { serverId: string; ended: Promise<void> }>();
  let results: TargetResult[] = [];
  let tell = (): void => undefined;

  const stopLater = (): void =>
    void wait(STOP_MS, undefined, { signal, ref: false }).then(() => cut.abort(), ignore);
  if (signals.stopping.aborted) stopLater();
  else signals.stopping.addEventListener('abort', stopLater, { once: true });

  const carry = async (target: ClaimedTarget): Promise<void> => {
    const result = await migrateTarget(run, target, signal);
    if (result !== undefined) results.push(result);
  };
  const event = (): Promise<void> =>
    new Promise((resolve) => {
      tell = resolve;
    });
  return {
    size: () => running.size,
    isBusy: () => running.size > 0 || results.length > 0,
    onServer: (serverId) => [...running.values()].filter((slot) => slot.serverId === serverId).length,
    start: (target) => {
      // A throw here is ours, not the target's (the registry is gone): its outcome is for the next owner to find.
      const ended = carry(target)
        .catch(() => cut.abort())
        .finally(() => {
          running.delete(target.databaseId);
          tell();
        });
      running.set(target.databaseId, { serverId: target.serverId, ended });
    },
    takeResults: () => {
      const taken = results;
      results = [];
      return taken;
    },
    changed: async () => {
      while (running.size > 0 && results.length === 0) await event();
      const until = performance.now() + GATHER_MS;
      while (running.size > 0 && results.length < enough && performance.now() < until) {
        await Promise.race([event(), wait(until - performance.now())]);
      }
    },
    close: async () => {
      signals.stopping.removeEventListener('abort', stopLater);
      cut.abort();
      await Promise.all([...running.values()].map((slot) => slot.ended));
    },
  };
}

function ignore(): void {
  // The wait was ended because the slots are closed already.
}
