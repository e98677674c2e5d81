import type { ServerResponse } from 'node:http';
import type { RouteChanges } from '../../contract/route.ts';
import type { Logger } from '../../platform/logging.ts';
import { sharedChannel, type Channel } from '../http/channel.ts';
import { beginEventStream, formatEvent } from '../http/sse.ts';
import type { Registry } from '../registry/registry.ts';
import type { Secrets } from '../secrets/secret.ts';
import { feedRegions, routesSince, schemaSteps } from './store.ts';

/**
 * Tells the apps of all regions about changed routes: over one listening connection for the whole process,
 * open while there is a client.
 */
export interface RouteFeed {
  /** Streams the changes after `since` as server-sent events until the client leaves; settles then. */
  serve(response: ServerResponse, since: FeedPosition): Promise<void>;
}

/** What a client has. */
export interface FeedPosition {
  region: string;
  /** Last version that was written to it: a slow client lags here, not in our memory. */
  version: string;
  /** Ordinal of the last migration that it knows. */
  steps: number;
}

/** 15 s: proxies drop connections that are silent for 60 s, and the app counts on a sign of life in 45 s. */
const HEARTBEAT_MS = 15_000;
/** 500 routes are about 200 kB: what one client can hold of ours beside the socket's buffer. */
const PAGE_ROUTES = 500;
/** Heartbeats in a row that found the client's buffer full: after 30 s it is cut off and resumes by version. */
const STALLED_HEARTBEATS = 2;
/** Time between attempts when the registry does not answer. */
const RETRY_MS = 1_000;

interface FeedClient extends FeedPosition {
  response: ServerResponse;
  stalled: number;
}

interface Feed {
  registry: Registry;
  secrets: Pick<Secrets, 'locate'>;
  channel: Channel;
  logger: Logger;
  clients: Set<FeedClient>;
  heartbeat: NodeJS.Timeout | undefined;
  retry: NodeJS.Timeout | undefined;
  /** A round is under way; `again` asks for another one after it. */
  running: boolean;
  again: boolean;
}

/** One for the process. It reads nothing before its first client. */
export function createRouteFeed(deps: Pick<Feed, 'registry' | 'secrets' | 'logger'>): RouteFeed {
  const feed: Feed = {
    ...deps,
    channel: sharedChannel(deps.registry, 'fleet_routes'),
    clients: new Set(),
    heartbeat: undefined,
    retry: undefined,
    running: false,
    again: false,
  };
  return { serve: (response, since) => serve(feed, response, since) };
}

async function serve(feed: Feed, response: ServerResponse, since: FeedPosition): Promise<void> {
  const client: FeedClient = { response, ...since, stalled: 0 };
  const gone = new Promise<void>((resolve) => {
    if (response.destroyed) resolve();
    else response.once('close', resolve);
  });
  feed.clients.add(client);
  feed.heartbeat ??= setInterval(() => beat(feed), HEARTBEAT_MS).unref();
  let leave: (() => Promise<void>) | undefined;
  try {
    leave = await feed.channel.subscribe(() => push(feed));
    response.on('error', () => response.destroy());
    response.on('drain', () => push(feed));
    beginEventStream(response);
    push(feed);
    await gone;
  } finally {
    feed.clients.delete(client);
    if (feed.clients.size === 0) stopTimers(feed);
    await leave?.();
  }
}

function stopTimers(feed: Feed): void {
  clearInterval(feed.heartbeat);
  clearTimeout(feed.retry);
  feed.heartbeat = undefined;
  feed.retry = undefined;
}

/** Asks for a round. Any number of notifications during one round lead to one more round. */
function push(feed: Feed): void {
  feed.again = true;
  if (feed.running) return;
  feed.running = true;
  void rounds(feed);
}

async function rounds(feed: Feed): Promise<void> {
  try {
    while (feed.again) {
      feed.again = false;
      await round(feed);
    }
  } catch (error) {
    feed.logger.warn('the route feed cannot read the registry', { error });
    feed.retry ??= setTimeout(() => {
      feed.retry = undefined;
      push(feed);
    }, RETRY_MS).unref();
  } finally {
    feed.running = false;
  }
}

/** One page of changes to every client that can take it. Clients at the same version share one query. */
async function round(feed: Feed): Promise<void> {
  const groups = new Map<string, FeedClient[]>();
  for (const client of feed.clients) {
    // Before its head is sent, a stream takes no events.
    if (!client.response.headersSent || client.response.writableNeedDrain) continue;
    const name = `${client.region} ${client.version} ${client.steps}`;
    groups.set(name, [...(groups.get(name) ?? []), client]);
  }
  if (groups.size === 0) return;
  const regions = await feedRegions(feed.registry);
  for (const clients of groups.values()) {
    const first = clients[0];
    if (first === undefined) continue;
    const page = await routesSince(feed.registry, first.region, {
      since: first.version,
      limit: PAGE_ROUTES,
      locate: feed.secrets.locate,
    });
    if (page.routes.length === 0) continue;
    if (page.routes.length === PAGE_ROUTES) feed.again = true;
    // After the routes: whatever they stand at was published before.
    const steps = await schemaSteps(feed.registry, first.steps);
    send(clients, { ...page, regions, steps });
  }
}

function send(clients: FeedClient[], changes: RouteChanges): void {
  const event = formatEvent('changes', changes, changes.version);
  for (const client of clients) {
    if (!client.response.writable) continue;
    client.response.write(event);
    client.version = changes.version;
    client.steps = changes.steps.at(-1)?.ordinal ?? client.steps;
  }
}

function beat(feed: Feed): void {
  for (const client of feed.clients) {
    if (!client.response.headersSent) continue;
    client.stalled = client.response.writableNeedDrain ? client.stalled + 1 : 0;
    if (client.stalled >= STALLED_HEARTBEATS) client.response.destroy();
    else if (client.stalled === 0) client.response.write(': alive\n\n');
  }
}
