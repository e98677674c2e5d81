import type { WaveGates, Verdict } from './gating.ts';
import type { WaveRecord } from '../wave-store.ts';

/**
 * Asks the gates of open waves beside the driver's loop: a source that takes its time holds up no target. What was
 * asked while a wave was in one state says nothing about the next.
 */
export interface GateWatch {
  /**
   * The verdict, where one has come since the last call; otherwise when the next measurement is due. Starts one that
   * is due now.
   */
  ask(wave: WatchedWave, gates: WaveGates, now: Date): { verdict?: Verdict; nextAt?: Date };
  /** Something of the wave has to be measured by then: a target that was asked in vain. */
  measureBy(ordinal: number, at: Date): void;
  /** Whether a measurement is under way. */
  isBusy(): boolean;
  /** Settle with the next verdict each. */
  pending(): Promise<void>[];
  /** @throws what a measurement threw: not a verdict, but a fault of ours */
  throwIfBroken(): void;
}

/**
 * What of a wave tells whether it is still in the same state; `version` is the rollout's: a person's word in between
 * (a resume, a retry) may have brought it back to the state that it was stopped in, and what stopped it is old.
 */
export type WatchedWave = Pick<WaveRecord, 'ordinal' | 'state' | 'doneAt'> & { version: number };

/** A gate that waits and does not say until when is asked again after this many milliseconds. */
const ASK_AGAIN_MS = 30_000;

interface Watched {
  state: string;
  measuring?: Promise<void> | undefined;
  verdict?: Verdict | undefined;
  dueAt?: Date | undefined;
  /** Asked for while the measurement under way may have looked already. */
  by?: Date | undefined;
}

export function createGateWatch(): GateWatch {
  const watched = new Map<number, Watched>();
  let broken: { error: unknown } | undefined;

  const measure = (entry: Watched, gates: WaveGates, now: Date): void => {
    entry.measuring = gates
      .measure(now)
      .then(
        (verdict) => {
          entry.verdict = verdict;
          const later = verdict.nextAt ?? (verdict.state === 'wait' ? soon(now) : NEVER);
          entry.dueAt = earlier(later, entry.by);
          entry.by = undefined;
        },
        (error: unknown) => {
          broken ??= { error };
        },
      )
      .finally(() => {
        entry.measuring = undefined;
      });
  };
  return {
    ask: (wave, gates, now) => {
      const state = `${wave.version} ${wave.state} ${wave.doneAt?.getTime() ?? ''}`;
      let entry = watched.get(wave.ordinal);
      if (entry?.state !== state) {
        entry = { state };
        watched.set(wave.ordinal, entry);
      }
      const { verdict } = entry;
      entry.verdict = undefined;
      if (verdict !== undefined)
        return { verdict, ...(entry.dueAt === undefined ? {} : { nextAt: entry.dueAt }) };
      if (entry.measuring !== undefined) return {};
      if (entry.dueAt !== undefined && entry.dueAt > now)
        return entry.dueAt === NEVER ? {} : { nextAt: entry.dueAt };
      measure(entry, gates, now);
      return {};
    },
    measureBy: (ordinal, at) => {
      const entry = watched.get(ordinal);
      // A wave that was not asked about yet is measured when it is.
      if (entry === undefined) return;
      if (entry.measuring !== undefined) entry.by = earlier(at, entry.by);
      else if (entry.dueAt !== undefined) entry.dueAt = earlier(at, entry.dueAt);
    },
    isBusy: () => [...watched.values()].some((entry) => entry.measuring !== undefined),
    pending: () => [...watched.values()].flatMap((entry) => entry.measuring ?? []),
    throwIfBroken: () => {
      if (broken !== undefined) throw broken.error;
    },
  };
}

const NEVER = new Date(8.64e15);

function earlier(at: Date, other: Date | undefined): Date {
  return other !== undefined && other < at ? other : at;
}

function soon(now: Date): Date {
  return new Date(now.getTime() + ASK_AGAIN_MS);
}
