import pRetry from 'p-retry';
import type { Logger } from '../../platform/logging.ts';
import { sqlState, SQLSTATE } from '../../platform/errors.ts';

/** States that pass by themselves: waiting for a lock, a deadlock, a serialization conflict. */
const CONTENTION = new Set<string>([
  SQLSTATE.lockNotAvailable,
  SQLSTATE.deadlockDetected,
  SQLSTATE.serializationFailure,
]);

export function isContention(error: unknown): boolean {
  return CONTENTION.has(sqlState(error) ?? '');
}

/** A session that a migration waits for. */
export interface Blocker {
  pid: number;
  applicationName: string;
  /** E.g. `idle in transaction`. */
  state: string;
  /** Since its transaction began. */
  seconds: number;
  /** Its last statement without the values in it: they may be a tenant's data. */
  query: string;
}

/** Tells whom the session with this process id waits for. */
export type FindBlockers = (pid: number) => Promise<Blocker[]>;

/** The last wait for a lock, after all tries; with those who were seen to hold it. */
export class LockWaitError extends Error {
  readonly blockers: Blocker[];

  constructor(cause: unknown, blockers: Blocker[]) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.name = 'LockWaitError';
    this.blockers = blockers;
  }
}

/** Ten waits of `lock_timeout` with growing, jittered pauses between: about half a minute in all. */
const RETRIES = { retries: 9, minTimeout: 50, maxTimeout: 1_000, factor: 2, randomize: true };

/** 1 s, or half of a shorter lock time-out. Whoever holds a lock for so long is worth a question. */
const LOOK_AFTER_MS = 1_000;

export interface Waiting {
  /** Process id of the migrating session on its server. */
  pid: number | undefined;
  /** Milliseconds; 0 for none. */
  lockTimeoutMs?: number;
  /** Repeats at the most; absent: as a rollout does. */
  retries?: number;
  findBlockers?: FindBlockers | undefined;
  logger?: Logger | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Repeats `attempt` while it fails for locks that others hold; any other failure passes at once. `lockWaitMs` is
 * the time until the attempt that succeeded: the vain ones and the pauses.
 * @throws LockWaitError when the last try waited in vain
 */
export async function retryContention<T>(
  attempt: () => Promise<T>,
  waiting: Waiting,
): Promise<{ value: T; lockWaitMs: number }> {
  const startedAt = performance.now();
  let blockers: Blocker[] = [];
  let lockWaitMs = 0;
  const watched = async (number: number): Promise<T> => {
    if (number > 1) lockWaitMs = Math.round(performance.now() - startedAt);
    const look = watch(waiting, (seen) => (blockers = seen));
    return attempt().finally(() => clearTimeout(look));
  };
  const shouldRetry = ({ error }: { error: Error }) => isContention(error);
  try {
    const retries = waiting.retries ?? RETRIES.retries;
    const value = await pRetry(watched, { ...RETRIES, retries, shouldRetry, signal: waiting.signal });
    return { value, lockWaitMs };
  } catch (error) {
    if (isContention(error)) throw new LockWaitError(error, blockers);
    throw error;
  }
}

/** While an attempt lasts, asks once who blocks it: afterwards nobody can tell any more. */
function watch(
  { pid, lockTimeoutMs = 0, findBlockers, logger }: Waiting,
  seen: (blockers: Blocker[]) => void,
): NodeJS.Timeout | undefined {
  if (pid === undefined || findBlockers === undefined) return undefined;
  const lookAfterMs = lockTimeoutMs > 0 ? Math.min(lockTimeoutMs / 2, LOOK_AFTER_MS) : LOOK_AFTER_MS;
  return setTimeout(() => {
    findBlockers(pid).then(
      (blockers) => {
        if (blockers.length > 0) seen(blockers);
      },
      // Only words in a message: the wait itself goes on and is told without them.
      (error: unknown) => logger?.warn('cannot see who blocks a migration', { error }),
    );
  }, lookAfterMs);
}
