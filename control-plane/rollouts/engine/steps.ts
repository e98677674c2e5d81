import type { Logger } from '../../../platform/logging.ts';
import { fencedStatement, LeaseLostError, type Lease } from '../../operations/lease.ts';
import type { Registry } from '../../registry/registry.ts';
import { writeStep } from '../view/progress-store.ts';

/**
 * Only what takes longer than this, in milliseconds, is told to watchers: most migrations are over in a few, and
 * writing each down would cost the rollout more than it tells anybody.
 */
const MOMENT_MS = 1_000;

/** Tells watchers which migration a target in flight is at. */
export interface StepNotes {
  /** Undefined where nothing is left to do. */
  at(databaseId: string, migration: string | undefined): void;
}

export interface StepDeps {
  registry: Registry;
  logger: Logger;
  rolloutId: string;
  lease: Lease;
}

export function openSteps(deps: StepDeps, momentMs: number = MOMENT_MS): StepNotes {
  const { registry, logger, rolloutId, lease } = deps;
  const timers = new Map<string, NodeJS.Timeout>();
  const tell = async (databaseId: string, migration: string): Promise<void> => {
    timers.delete(databaseId);
    try {
      const step = { migration, elapsedMs: momentMs };
      await fencedStatement(lease, () => writeStep(registry, { rolloutId, databaseId }, lease, step));
    } catch (error) {
      // The engine notices by itself that the lease is lost; what is not shown stops nothing.
      if (!(error instanceof LeaseLostError)) logger.warn('a step could not be told', { error });
    }
  };
  return {
    at: (databaseId, migration) => {
      clearTimeout(timers.get(databaseId));
      timers.delete(databaseId);
      if (migration === undefined) return;
      timers.set(
        databaseId,
        setTimeout(() => void tell(databaseId, migration), momentMs),
      );
    },
  };
}
