import type { StoredCause } from '../cause.ts';
import type { ClaimedTarget } from '../target-store.ts';
import type { WaveRecord } from '../wave-store.ts';

/** What the gates of a wave say. */
export interface Verdict {
  /** `wait`: the wave may not pass yet. `pause`: nobody knows. `halt`: a gate has failed. */
  state: 'go' | 'wait' | 'pause' | 'halt';
  /** Of `pause` and `halt`. */
  cause?: Omit<StoredCause, 'actor'>;
  /** When to measure again. */
  nextAt?: Date;
}

/** The gates of one wave, as the driver asks them. */
export interface WaveGates {
  /** Asked when a target has been verified, before its result is written. `nextAt`: when to ask again what said nothing. */
  afterTarget(target: ClaimedTarget): Promise<Verdict>;
  /** Measures what is due, then the verdict over all gates of the wave. */
  measure(now: Date): Promise<Verdict>;
}

/** Opens the gates of a wave; undefined where it has none. */
export type OpenGates = (wave: WaveRecord) => WaveGates | undefined;
