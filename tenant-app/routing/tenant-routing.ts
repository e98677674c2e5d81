import type { Request, RequestHandler } from 'express';
import type { Logger } from '../../platform/logging.ts';
import { createControlPlane } from './control-plane.ts';
import { createCredentials } from './credentials.ts';
import { startFeed } from './feed-client.ts';
import { createGates, type Gate } from './gate.ts';
import { trustProxies } from './identify.ts';
import { routingMiddleware, type RequestRecord } from './middleware.ts';
import type { PoolLimits, PoolStats } from './pool-state.ts';
import { createPools, poolKey } from './pools.ts';
import { createRouteTable, type RouteListener } from './route-table.ts';

export interface TenantRoutingOptions {
  /** The region that this process serves: tenants of others are answered with 421. */
  region: string;
  controlPlaneUrl: string;
  /** The region's app key (`flt_…`). */
  token: string;
  logger: Logger;
  /** Addresses or CIDR blocks of proxies whose X-Forwarded-Host counts. None by default. */
  trustedProxies?: string[];
  /** The tenant (slug or id) that a verified token names; when it is another one, the answer is 403. */
  claimedTenant?: (request: Request) => string | undefined;
  /** Told of every request that is over. Must not throw. */
  onRequest?: (record: RequestRecord) => void;
  limits?: Partial<RoutingLimits>;
}

export interface RoutingLimits extends PoolLimits {
  /** Requests of one tenant at a time; more are answered with 429. */
  requestsPerTenant: number;
  /** Milliseconds until a request's queries are cut off. Longer than a statement may take. */
  requestMs: number;
}

export interface TenantRouting {
  /** Puts `request.tenant` on requests of tenants of this region; answers all others itself. */
  middleware: RequestHandler;
  /** Whether routes are loaded: from then on it serves, with or without the control plane. */
  ready(): boolean;
  whenReady: Promise<void>;
  stats: () => RoutingStats;
  /** Stops the feed, waits for queries in hand, closes all connections. */
  stop(): Promise<void>;
}

export interface RoutingStats extends PoolStats {
  routes: number;
  version: string | undefined;
  feedConnected: boolean;
  tenants: Iterable<Gate>;
}

/**
 * 240 connections leave room on a server with 400 for other processes, migrations and people. 8 per tenant
 * keep four cores busy; what a tenant wants beyond that waits its turn, at most 3 s. A statement may take 10 s
 * and a request 15 s: longer work does not belong in a request.
 */
export const DEFAULT_LIMITS: RoutingLimits = {
  connections: 240,
  connectionsPerServer: 240,
  connectionsPerTenant: 8,
  waitMs: 3_000,
  statementTimeoutMs: 10_000,
  requestsPerTenant: 128,
  requestMs: 15_000,
};

/** Starts following the region's routes at once. @throws FleetError `bad_proxy` */
export function tenantRouting(options: TenantRoutingOptions): TenantRouting {
  const { logger, region } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const trusted = trustProxies(options.trustedProxies ?? []);
  const controlPlane = createControlPlane({ url: options.controlPlaneUrl, token: options.token, region });
  const credentials = createCredentials((databaseId) => controlPlane.credential(databaseId));
  const pools = createPools({ credentials, logger, limits });
  const gates = createGates();

  const onChange: RouteListener = (previous, next) => {
    const isGone = next === undefined;
    if (isGone || next.state !== 'active' || poolKey(next) !== poolKey(previous)) pools.retire(previous);
    if (isGone || next.databaseId !== previous.databaseId) credentials.forget(previous.databaseId);
    if (isGone || next.slug !== previous.slug) gates.drop(previous.key);
  };
  const table = createRouteTable(onChange);
  const feed = startFeed({ controlPlane, region, table, logger });
  return {
    middleware: routingMiddleware({ ...options, table, pools, gates, limits, trusted }),
    ready: feed.loaded,
    whenReady: feed.whenLoaded,
    stats: () => ({
      ...pools.stats(),
      routes: table.size(),
      version: table.version(),
      feedConnected: feed.connected(),
      tenants: gates.all(),
    }),
    stop: async () => {
      await feed.stop();
      await pools.close();
      gates.close();
    },
  };
}
