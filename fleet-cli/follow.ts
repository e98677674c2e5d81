import { setTimeout as delay } from 'node:timers/promises';
import type { z } from 'zod';
import type { Client } from './client.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exit.ts';
import type { Session } from './session.ts';
import { interrupted } from './transport-errors.ts';

/** With events coming, polling only guards against one that was lost. */
const POLL_WITH_EVENTS_MS = 2_000;
/** Without events (a proxy that buffers, a restarted server) polling is what shows progress. */
const POLL_WITHOUT_EVENTS_MS = 400;
/** At most ten reads a second, however fast events come. */
const MIN_INTERVAL_MS = 100;
/** Longer than a restart of the control plane takes; the work itself goes on meanwhile. */
const UNREACHABLE_GRACE_MS = 30_000;

export interface Followed<T> {
  /** What is read, at first and after each event. */
  path: string;
  /** Where its events are; absent: at `<path>/events`. */
  events?: string;
  /** Milliseconds between two readings at least; absent: MIN_INTERVAL_MS. */
  everyMs?: number;
  schema: z.ZodType<T>;
  over: (state: T) => boolean;
  onUpdate: (state: T) => void;
  /** What goes on when waiting ends early, e.g. `operation 0190…`. */
  subject: string;
  /** The command that looks at it again. */
  again: string;
}

/**
 * Watches a resource until it is over. Events only wake; the truth is read with GET, so that events that are lost,
 * late or of a newer form do no harm.
 * @throws CliError `timeout` after --timeout, `interrupted` after Ctrl-C; both say that the work goes on.
 */
export async function follow<T>(session: Session, followed: Followed<T>): Promise<T> {
  const client = session.client();
  const stop = new AbortController();
  const deadline = session.globals.timeout === undefined ? Infinity : Date.now() + session.globals.timeout;
  // Forwarded by hand: Node 20 collects signals made by AbortSignal.any while a long stream still needs them.
  const end = () => stop.abort();
  session.io.signal.addEventListener('abort', end);
  if (session.io.signal.aborted) end();
  const { events = `${followed.path}/events`, everyMs = MIN_INTERVAL_MS } = followed;
  const wake = listen(client, { path: events, everyMs }, stop.signal);
  try {
    // A control plane that was never reached gets the client's short grace only.
    let reachedAt = Number.NEGATIVE_INFINITY;
    for (;;) {
      const state = await read(client, followed, reachedAt);
      if (state !== undefined) {
        reachedAt = Date.now();
        followed.onUpdate(state);
        if (followed.over(state)) return state;
      }
      const left = deadline - Date.now();
      if (left <= 0) throw timedOut(followed, session.globals.timeout ?? 0);
      await wake.next(Math.min(left, wake.live() ? POLL_WITH_EVENTS_MS : POLL_WITHOUT_EVENTS_MS));
      if (session.io.signal.aborted) throw stopped(followed);
    }
  } catch (error) {
    if (session.io.signal.aborted) throw stopped(followed);
    throw error;
  } finally {
    session.io.signal.removeEventListener('abort', end);
    end();
  }
}

async function read<T>(client: Client, followed: Followed<T>, reachedAt: number): Promise<T | undefined> {
  try {
    const impatient = Number.isFinite(reachedAt);
    return (await client.send({ method: 'GET', path: followed.path, impatient }, followed.schema)).body;
  } catch (error) {
    const transient = error instanceof CliError && (error.code === 'unreachable' || error.retryable);
    if (transient && Date.now() - reachedAt < UNREACHABLE_GRACE_MS) return undefined;
    throw error;
  }
}

interface Wake {
  /** Whether events are coming in. */
  live(): boolean;
  /** Resolves at the next event, not sooner than `everyMs` from now, or after `ms`. */
  next(ms: number): Promise<void>;
}

function listen(
  client: Client,
  { path, everyMs }: { path: string; everyMs: number },
  signal: AbortSignal,
): Wake {
  let live = false;
  let pending = false;
  let ring = () => {};
  const pump = async () => {
    for await (const _event of client.events(path, signal)) {
      live = true;
      pending = true;
      ring();
    }
  };
  // A stream that fails or ends is no error: polling takes over.
  void pump()
    .catch(() => undefined)
    .finally(() => {
      live = false;
      ring();
    });
  return {
    live: () => live,
    next: async (ms) => {
      await sleep(Math.min(ms, everyMs), signal);
      if (!pending) {
        const rung = new Promise<void>((resolve) => (ring = resolve));
        await Promise.race([rung, sleep(ms - everyMs, signal)]);
      }
      pending = false;
    },
  };
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  // Woken by Ctrl-C: the caller looks at the signal itself.
  await delay(Math.max(0, ms), undefined, { signal, ref: true }).catch(() => undefined);
}

function timedOut(followed: Pick<Followed<never>, 'subject' | 'again'>, timeoutMs: number): CliError {
  return new CliError({
    code: 'timeout',
    exitCode: EXIT.failed,
    message: `${followed.subject} is not over after ${timeoutMs / 1_000} s; it goes on in the control plane`,
    fix: followed.again,
  });
}

function stopped(followed: Pick<Followed<never>, 'subject' | 'again'>): CliError {
  return interrupted(`${followed.subject} goes on in the control plane`, followed.again);
}
