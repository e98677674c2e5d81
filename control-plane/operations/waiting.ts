import type { EndError } from './definition.ts';

/** What a step waits for that somebody else brings about. */
export interface Wait {
  /** For a person, as in `instance fleet-eu-1 is being created`. */
  what: string;
  /** Milliseconds until somebody looks again. */
  afterMs: number;
  /** Milliseconds from the first look of the step on; it fails when the wait lasts longer. */
  limitMs: number;
}

/**
 * Thrown by a step, or its undo, whose effect is under way elsewhere. The operation is put aside: no worker holds it
 * meanwhile, and the step runs again, from its start, when it is time to look. All of it stands in the registry.
 */
export class WaitingError extends Error {
  readonly wait: Wait;

  constructor(wait: Wait) {
    super(wait.what);
    this.name = 'WaitingError';
    this.wait = wait;
  }
}

/**
 * Why waiting is of no use any more; undefined while it is.
 * @param waitedMs since the step's first look; null at that look
 */
export function overdue({ what, limitMs }: Wait, waitedMs: number | null): EndError | undefined {
  if (waitedMs === null || waitedMs < limitMs) return undefined;
  return {
    code: 'waited_too_long',
    message: `${what}, for ${lasted(waitedMs)} now; ${lasted(limitMs)} were allowed`,
    fix: 'see there why it takes so long, then retry the operation',
  };
}

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;

function lasted(ms: number): string {
  return ms < MINUTE_MS ? `${Math.round(ms / SECOND_MS)} s` : `${Math.round(ms / MINUTE_MS)} min`;
}
