import { randomUUID } from 'node:crypto';
import {
  REPORT_DATABASES_MAX,
  type AppReport,
  type AppReportAnswer,
  type DatabaseTraffic,
  type SchemaRange,
} from '../../contract/app.ts';
import { LATENCY_BUCKETS, latencyBucket } from '../../contract/latency.ts';
import type { Logger } from '../../platform/logging.ts';
import { ControlPlaneError, type ControlPlane } from './control-plane.ts';

/** Tells the control plane that this process runs, in which version, and what its tenants get. */
export interface Reporter {
  /** Counts a request that is over. Costs a look-up and two additions: it is called for each. */
  count(databaseId: string, durationMs: number, failed: boolean): void;
  /** What it acknowledges has changed: tells so within a second instead of with the next report. */
  acknowledge(): void;
  /** Sends what is left, with a goodbye. Settles within a second, whether it came through or not. */
  stop(): Promise<void>;
}

/** Milliseconds; the defaults are below. */
export interface ReportTimes {
  /** Between reports. */
  everyMs?: number;
  /** The length of a window; windows begin at its multiples. */
  windowMs?: number;
}

export interface ReporterOptions extends ReportTimes {
  controlPlane: Pick<ControlPlane, 'report'>;
  appVersion: string;
  acceptsSchema: SchemaRange;
  /** Version of the route table up to which no older credential is in use; null while there is none. */
  acknowledged: () => string | null;
  logger: Logger;
}

/** 10 s: a gate measures every 30 s, and a thousand apps cost the control plane 100 short requests a second. */
const EVERY_MS = 10_000;
/** 0.5 s: while a whole fleet rotates, one report says it of many tenants. */
const ACKNOWLEDGE_MS = 500;
/** A minute: what is kept for a day for each tenant has to be small. */
const WINDOW_MS = 60_000;
/**
 * Reports that wait while the control plane is down: one per window, so that its last ten minutes are known when it is
 * back. 5,000 busy tenants in each are 10 MB.
 */
const HELD_MAX = 10;
/** A control plane that lives answers in milliseconds; a process that ends waits for no other. */
const GOODBYE_MS = 1_000;
/** A control plane that takes longer is as good as down: the next round sends the same again. */
const SEND_MS = 5_000;

interface State extends ReporterOptions {
  instance: string;
  sequence: number;
  windowMs: number;
  /** Of the present window: what is in no report yet. */
  window: Window;
  /** Numbered and not changed any more, oldest first. */
  held: AppReport[];
  sending: Promise<void> | undefined;
  /** Cuts off what is being sent. */
  request: AbortController | undefined;
  /** Nothing is sent any more. */
  isOver: boolean;
  isDown: boolean;
}

interface Window {
  from: number;
  to: number;
  databases: Map<string, DatabaseTraffic>;
}

/** Reports at once, and then on and on. Never fails: what cannot be sent is kept for a while. */
export function startReporter(options: ReporterOptions): Reporter {
  const windowMs = options.windowMs ?? WINDOW_MS;
  const state: State = {
    ...options,
    windowMs,
    instance: randomUUID(),
    sequence: 0,
    window: windowAt(Date.now(), windowMs),
    held: [],
    sending: undefined,
    request: undefined,
    isOver: false,
    isDown: false,
  };
  void report(state);
  const timer = setInterval(() => void report(state), options.everyMs ?? EVERY_MS).unref();
  let goodbye: Promise<void> | undefined;
  let soon: NodeJS.Timeout | undefined;
  return {
    count: (databaseId, durationMs, failed) => count(state, databaseId, durationMs, failed),
    acknowledge: () => {
      soon ??= setTimeout(() => {
        soon = undefined;
        // What is under way may say less.
        void (state.sending ?? Promise.resolve()).then(() => report(state));
      }, ACKNOWLEDGE_MS).unref();
    },
    stop: () => {
      clearInterval(timer);
      clearTimeout(soon);
      return (goodbye ??= sayGoodbye(state));
    },
  };
}

function windowAt(now: number, windowMs: number): Window {
  const from = Math.floor(now / windowMs) * windowMs;
  return { from, to: from + windowMs, databases: new Map() };
}

function count(state: State, database: string, durationMs: number, failed: boolean): void {
  turnWindow(state);
  let traffic = state.window.databases.get(database);
  if (traffic === undefined) {
    traffic = { database, errors: 0, latency: new Array<number>(LATENCY_BUCKETS).fill(0) };
    state.window.databases.set(database, traffic);
  }
  const bucket = latencyBucket(durationMs);
  traffic.latency[bucket] = (traffic.latency[bucket] ?? 0) + 1;
  if (failed) traffic.errors += 1;
}

/** Whatever the clock does: back as well as forth. */
function turnWindow(state: State): void {
  const now = Date.now();
  if (now >= state.window.from && now < state.window.to) return;
  if (state.window.databases.size > 0) freeze(state, false);
  state.window = windowAt(now, state.windowMs);
}

/** Makes what was counted until now into reports; with nothing counted, one that only says that we live. */
function freeze(state: State, stopping: boolean): void {
  const { window } = state;
  const all = [...window.databases.values()];
  window.databases = new Map();
  for (let at = 0; at === 0 || at < all.length; at += REPORT_DATABASES_MAX) {
    state.sequence += 1;
    state.held.push({
      instance: state.instance,
      sequence: state.sequence,
      appVersion: state.appVersion,
      acceptsSchema: state.acceptsSchema,
      acknowledged: state.acknowledged(),
      stopping: stopping && at + REPORT_DATABASES_MAX >= all.length,
      window: { from: new Date(window.from).toISOString(), to: new Date(window.to).toISOString() },
      databases: all.slice(at, at + REPORT_DATABASES_MAX),
    });
  }
  const most = HELD_MAX * Math.ceil(Math.max(1, all.length / REPORT_DATABASES_MAX));
  if (state.held.length > most) state.held.splice(0, state.held.length - most);
}

/** What waits goes first; only then what has been counted since. While nothing gets through, nothing is added. */
function report(state: State): Promise<void> {
  turnWindow(state);
  state.sending ??= (async () => {
    if (state.held.length === 0) freeze(state, false);
    await sendHeld(state);
  })().finally(() => {
    state.sending = undefined;
  });
  return state.sending;
}

async function sendHeld(state: State): Promise<void> {
  for (let next = state.held[0]; next !== undefined && !state.isOver; next = state.held[0]) {
    try {
      const answer = await send(state, next);
      state.isDown = false;
      if (answer.ignored.length > 0) {
        state.logger.warn("databases of this app are none of its region's for the control plane", answer);
      }
    } catch (error) {
      if (!isRefused(error)) return noteDown(state, error);
      // It would be refused for ever, and hold up all that come behind it.
      state.logger.warn('the control plane refuses a report of this app', { error });
    }
    // While it was under way, those in front may have been given up.
    state.held = state.held.filter((one) => one !== next);
  }
}

/** Not 408 and 429, which ask for the same again. */
function isRefused(error: unknown): boolean {
  if (!(error instanceof ControlPlaneError)) return false;
  return error.status >= 400 && error.status < 500 && error.status !== 408 && error.status !== 429;
}

function noteDown(state: State, error: unknown): void {
  if (!state.isDown && !state.isOver) {
    state.logger.warn('the control plane takes no report; they are kept for a while', { error });
  }
  state.isDown = true;
}

async function send(state: State, report: AppReport): Promise<AppReportAnswer> {
  const request = new AbortController();
  const timeout = setTimeout(() => request.abort(), SEND_MS).unref();
  state.request = request;
  try {
    return await state.controlPlane.report(report, request.signal);
  } finally {
    clearTimeout(timeout);
    state.request = undefined;
  }
}

async function sayGoodbye(state: State): Promise<void> {
  const giveUp = setTimeout(() => {
    state.isOver = true;
    state.request?.abort();
  }, GOODBYE_MS).unref();
  await state.sending;
  turnWindow(state);
  freeze(state, true);
  await sendHeld(state);
  clearTimeout(giveUp);
}
