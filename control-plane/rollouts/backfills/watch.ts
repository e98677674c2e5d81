import type { Logger } from '../../../platform/logging.ts';
import type { BackOff } from '../../../platform/wait.ts';
import { fencedStatement, LeaseLostError, type Lease } from '../../operations/lease.ts';
import type { BackfillControl, BackfillCount } from '../../releases/backfill-run.ts';
import type { ClaimedTarget } from '../target-store.ts';
import type { LoadLimits } from './load.ts';
import { writeProgress } from './store.ts';
import { createThrottle, type ThrottleDeps } from './throttle.ts';

/** Other than the usual ones in tests only. */
export interface BackfillSettings {
  limits?: LoadLimits | undefined;
  holding?: BackOff | undefined;
  patience?: Patience | undefined;
}

/** How long a held backfill keeps its place where others wait for it, and is then left alone. Milliseconds. */
export interface Patience {
  heldMs: number;
  leaveMs: number;
}

/**
 * An overload mostly passes within seconds; half a minute of one place is little of a wave. A minute later is soon
 * enough to look again, and one connection a minute is nothing to the server.
 */
const PATIENCE: Patience = { heldMs: 30_000, leaveMs: 60_000 };

/** What backfills of a rollout's targets answer to. */
export interface BackfillWatchDeps extends ThrottleDeps, BackfillSettings {
  rolloutId: string;
  lease: Lease;
  logger: Logger;
  isStopping: () => boolean;
  /** Whether somebody waits for this target's place. */
  isWanted: () => boolean;
}

export interface BackfillWatch {
  control: BackfillControl;
  /** Writes what was told last. */
  close(): Promise<void>;
}

/** Progress is written at most once a second for each target, in milliseconds. */
const WRITE_MS = 1_000;

/** Throttles the backfills of one target, stops them with the rollout, and keeps their progress with the target. */
export function watchBackfill(deps: BackfillWatchDeps, target: ClaimedTarget): BackfillWatch {
  const place = { rolloutId: deps.rolloutId, databaseId: target.databaseId };
  const write = async (count: BackfillCount): Promise<void> => {
    try {
      await fencedStatement(deps.lease, () => writeProgress(deps.registry, place, deps.lease, count));
    } catch (error) {
      // The engine notices by itself that the lease is lost; a progress that is not shown stops nothing.
      if (!(error instanceof LeaseLostError)) deps.logger.warn('progress could not be written', { error });
    }
  };
  const writer = createWriter(write);
  const { heldMs: patienceMs, leaveMs } = deps.patience ?? PATIENCE;
  return {
    control: {
      throttle: createThrottle(deps, target),
      isStopping: deps.isStopping,
      onProgress: writer.note,
      leaveAlone: (heldMs) => (heldMs >= patienceMs && deps.isWanted() ? leaveMs : null),
      holding: deps.holding,
    },
    close: writer.close,
  };
}

/** Writes one after the other, the latest only, and no more often than `WRITE_MS`. */
function createWriter(write: (count: BackfillCount) => Promise<void>): {
  note: (count: BackfillCount) => void;
  close: () => Promise<void>;
} {
  let latest: BackfillCount | undefined;
  let writing = Promise.resolve();
  let nextAt = 0;
  const flush = (): void => {
    const count = latest;
    if (count === undefined) return;
    latest = undefined;
    writing = writing.then(() => write(count));
  };
  return {
    note: (count) => {
      latest = count;
      if (performance.now() < nextAt) return;
      nextAt = performance.now() + WRITE_MS;
      flush();
    },
    close: () => {
      flush();
      return writing;
    },
  };
}
