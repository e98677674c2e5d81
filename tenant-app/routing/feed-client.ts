import type { ReadableWritablePair } from 'node:stream/web';
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { RouteChanges, RouteSnapshot } from '../../contract/route.ts';
import type { Logger } from '../../platform/logging.ts';
import { ControlPlaneError, type ControlPlane } from './control-plane.ts';
import type { RouteTable } from './route-table.ts';

/** Keeps a route table up to date for as long as the process lives. */
export interface FeedClient {
  /** Whether the table has been loaded once: from then on it serves, control plane or not. */
  loaded: () => boolean;
  /** Settles at the first load. */
  whenLoaded: Promise<void>;
  /** Whether the stream is open now. */
  connected: () => boolean;
  stop(): Promise<void>;
}

/** The control plane sends a heartbeat every 15 s; after three missed ones the connection is taken for dead. */
const SILENCE_MS = 45_000;
const BACKOFF_FIRST_MS = 100;
/** 5 s: a control plane that comes back is known within that time, and 1,000 waiting apps cost it 200 calls/s. */
const BACKOFF_MAX_MS = 5_000;

interface FeedState {
  stopped: AbortController;
  isLoaded: boolean;
  isConnected: boolean;
  failures: number;
}

export function startFeed(deps: {
  controlPlane: ControlPlane;
  region: string;
  table: RouteTable;
  logger: Logger;
}): FeedClient {
  const state: FeedState = {
    stopped: new AbortController(),
    isLoaded: false,
    isConnected: false,
    failures: 0,
  };
  let markLoaded: () => void = () => undefined;
  const whenLoaded = new Promise<void>((resolve) => {
    markLoaded = () => {
      state.isLoaded = true;
      resolve();
    };
  });
  const running = follow(deps, state, markLoaded);
  return {
    loaded: () => state.isLoaded,
    whenLoaded,
    connected: () => state.isConnected,
    stop: async () => {
      state.stopped.abort();
      await running;
    },
  };
}

type Deps = Parameters<typeof startFeed>[0];

/** Never rejects: whatever fails is tried again, and the table goes on serving what it knows. */
async function follow(deps: Deps, state: FeedState, markLoaded: () => void): Promise<void> {
  while (!state.stopped.signal.aborted) {
    try {
      await loadSnapshot(deps, state, markLoaded);
      await readChanges(deps, state);
    } catch (error) {
      if (state.stopped.signal.aborted) return;
      await recover(deps, state, error);
    } finally {
      state.isConnected = false;
    }
    await backOff(state);
  }
}

async function loadSnapshot(deps: Deps, state: FeedState, markLoaded: () => void): Promise<void> {
  if (deps.table.version() !== undefined) return;
  const path = `/api/v1/regions/${deps.region}/routes`;
  const snapshot = RouteSnapshot.parse(await deps.controlPlane.getJson(path, state.stopped.signal));
  deps.table.replace(snapshot);
  deps.logger.info('the route table is loaded', { version: snapshot.version, routes: deps.table.size() });
  markLoaded();
}

/** Returns when the stream ends; throws when it breaks or falls silent. */
async function readChanges(deps: Deps, state: FeedState): Promise<void> {
  // One controller for both reasons: Node 20 forgets signals made by AbortSignal.any while a stream needs them.
  const end = new AbortController();
  const stop = (): void => end.abort();
  const watchdog = setTimeout(stop, SILENCE_MS).unref();
  state.stopped.signal.addEventListener('abort', stop, { once: true });
  if (state.stopped.signal.aborted) stop();
  try {
    const since = deps.table.version() ?? '0';
    const query = `since=${since}&steps=${deps.table.lastOrdinal()}`;
    const path = `/api/v1/regions/${deps.region}/routes/events?${query}`;
    const body = await deps.controlPlane.openStream(path, end.signal);
    state.isConnected = true;
    state.failures = 0;
    const events = body
      .pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>)
      .pipeThrough(new EventSourceParserStream({ onComment: () => watchdog.refresh() }));
    for await (const event of events) {
      watchdog.refresh();
      if (event.event !== 'changes') continue;
      deps.table.apply(RouteChanges.parse(JSON.parse(event.data)));
    }
  } finally {
    clearTimeout(watchdog);
    state.stopped.signal.removeEventListener('abort', stop);
  }
}

async function recover(deps: Deps, state: FeedState, error: unknown): Promise<void> {
  state.failures += 1;
  deps.logger.warn('the route feed is interrupted; serving the last known routes', {
    error,
    version: deps.table.version(),
    failures: state.failures,
  });
  // Our version is not of the registry's history: only a snapshot helps, and it replaces what we have.
  if (!(error instanceof ControlPlaneError && error.status === 410)) return;
  const path = `/api/v1/regions/${deps.region}/routes`;
  try {
    deps.table.replace(RouteSnapshot.parse(await deps.controlPlane.getJson(path, state.stopped.signal)));
  } catch (cause) {
    deps.logger.warn('the route snapshot cannot be read', { error: cause });
  }
}

/** Waits 0.1 s, 0.2 s … 5 s with jitter, so that apps do not return all at one moment. */
async function backOff(state: FeedState): Promise<void> {
  if (state.stopped.signal.aborted) return;
  const most = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.max(0, state.failures - 1));
  const delay = most * (0.5 + Math.random() / 2);
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, delay);
    const signal = state.stopped.signal;
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
}
