import { EventEmitter } from 'node:events';
import CircuitBreaker from 'opossum';
import { isAnswer } from './acquire-error.ts';
import { RoutingError } from './problem.ts';

/** What holds for one tenant over all its requests in this process. */
export interface Gate {
  slug: string;
  /** Requests that are being handled. */
  inFlight: number;
  /** Answers by class since the process started: for the metrics. */
  answers: { ok: number; clientError: number; serverError: number };
  /** Of the server errors those that its schema is to blame for. */
  outOfRange: number;
  breaker: Breaker;
}

/** Stops asking a tenant's database while it does not answer, so that its requests fail at once. */
export interface Breaker {
  /** Runs an attempt to reach the database unless the breaker is open. @throws RoutingError 503 `breaker_open` */
  run<T>(work: () => Promise<T>): Promise<T>;
  /** Counts a failure that showed itself elsewhere: a connection that was lost under a query. */
  fail(error: Error): void;
  isOpen(): boolean;
  /** Not open, and not on trial after it was. */
  isClosed(): boolean;
  close(): void;
}

export interface Gates {
  /** The gate of a tenant, made at its first request. */
  of(key: string, slug: string): Gate;
  drop(key: string): void;
  all(): Iterable<Gate>;
  close(): void;
}

/** Failures are counted over 10 s in buckets of one second. */
const WINDOW_MS = 10_000;
const BUCKETS = 10;
/** Fewer than 5 attempts in the window are too few to judge by. */
const LEAST_ATTEMPTS = 5;
const FAILED_PERCENT = 50;
/** 2 s until one request may try again: a restarted server is back within 10 s at the latest. */
const OPEN_MS = 2_000;

export function createGates(): Gates {
  const gates = new Map<string, Gate>();
  // One timer for the windows of all breakers: one per tenant would be thousands.
  const clock = new EventEmitter().setMaxListeners(0);
  const tick = setInterval(() => clock.emit('rotate'), WINDOW_MS / BUCKETS).unref();
  return {
    of: (key, slug) => {
      const found = gates.get(key);
      if (found !== undefined) return found;
      const answers = { ok: 0, clientError: 0, serverError: 0 };
      const gate: Gate = { slug, inFlight: 0, answers, outOfRange: 0, breaker: createBreaker(clock) };
      gates.set(key, gate);
      return gate;
    },
    drop: (key) => {
      gates.get(key)?.breaker.close();
      gates.delete(key);
    },
    all: () => gates.values(),
    close: () => {
      clearInterval(tick);
      for (const gate of gates.values()) gate.breaker.close();
    },
  };
}

function createBreaker(clock: EventEmitter): Breaker {
  const circuit = new CircuitBreaker<[() => Promise<unknown>], unknown>((work) => work(), {
    timeout: false,
    errorThresholdPercentage: FAILED_PERCENT,
    volumeThreshold: LEAST_ATTEMPTS,
    resetTimeout: OPEN_MS,
    rollingCountTimeout: WINDOW_MS,
    rollingCountBuckets: BUCKETS,
    rollingPercentilesEnabled: false,
    enableSnapshots: false,
    rotateBucketController: clock,
    errorFilter: isAnswer,
  });
  let isOver = false;
  return {
    // A tenant that has just left the table may have requests in hand: they go on without a breaker.
    run: <T>(work: () => Promise<T>) =>
      isOver ? work() : (circuit.fire(work).catch(translate) as Promise<T>),
    fail: (error) => {
      // The outcome is the counting itself; the error has been told to the one who met it.
      if (!isOver) circuit.fire(() => Promise.reject(error)).catch(() => undefined);
    },
    isOpen: () => circuit.opened,
    isClosed: () => isOver || circuit.closed,
    close: () => {
      isOver = true;
      circuit.shutdown();
    },
  };
}

function translate(error: unknown): never {
  const isOpen =
    typeof error === 'object' && error !== null && 'code' in error && error.code === 'EOPENBREAKER';
  if (!isOpen) throw error;
  throw new RoutingError({
    code: 'breaker_open',
    status: 503,
    message: "the tenant's database does not answer; requests are held off for a moment",
    retryAfterS: Math.ceil(OPEN_MS / 1_000),
  });
}
