import type { Request, RequestHandler } from 'express';
import { AppVersion } from '../../contract/app.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import { awsCredentials, type AwsSecretStore } from './aws-credentials.ts';
import { createControlPlane, type Token } from './control-plane.ts';
import { createCredentials } from './credentials.ts';
import { startFeed } from './feed-client.ts';
import { createGates, type Gate } from './gate.ts';
import { trustProxies } from './identify.ts';
import { routingMiddleware, type RequestRecord } from './middleware.ts';
import type { PoolLimits, PoolStats } from './pool-state.ts';
import { createPools, isSamePlace, poolKey } from './pools.ts';
import { startReporter, type ReportTimes } from './reporter.ts';
import { createRouteTable, type RouteListener } from './route-table.ts';
import type { AcceptedSchema } from './schema-range.ts';

export interface TenantRoutingOptions {
  /** The region that this process serves: tenants of others are answered with 421. */
  region: string;
  controlPlaneUrl: string;
  /** The region's app key (`flt_…`); as a function it is asked for each request, so that the key can be rotated. */
  token: string | Token;
  logger: Logger;
  /** Where credentials are read. By default the control plane hands them out. */
  secretStore?: AwsSecretStore;
  /**
   * Semantic version of the app, which contract steps wait for (`-- fleet: requires-app>=2.4.0`). Without one the app
   * counts as older than whatever they ask for.
   */
  appVersion?: string;
  /** Tenants whose schema is outside are answered with 503 `schema_out_of_range`. Without it, all are served. */
  acceptsSchema?: AcceptedSchema;
  /** How often the control plane is told of requests, in milliseconds; for tests. */
  reports?: ReportTimes;
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

/** Older than all that are released. */
const NO_VERSION = '0.0.0';

/** Starts following the region's routes at once. @throws FleetError `bad_proxy`, `bad_app_version` */
export function tenantRouting(options: TenantRoutingOptions): TenantRouting {
  const { logger, region } = options;
  const appVersion = checkVersion(options.appVersion ?? NO_VERSION);
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const trusted = trustProxies(options.trustedProxies ?? []);
  const controlPlane = createControlPlane({
    url: options.controlPlaneUrl,
    token: tokenOf(options.token),
    region,
  });
  const credentials =
    options.secretStore === undefined
      ? createCredentials((databaseId) => controlPlane.credential(databaseId))
      : awsCredentials(options.secretStore, logger);
  const pools = createPools({ credentials, logger, limits, onLeft: () => reporter.acknowledge() });
  const gates = createGates();
  const accepts = options.acceptsSchema ?? {};

  const onChange: RouteListener = (previous, next, before) => {
    const isGone = next === undefined;
    if (isGone || next.state !== 'active' || !isSamePlace(previous, next)) pools.retire(previous, before);
    else if (poolKey(next) !== poolKey(previous)) pools.replace(previous, next, before);
    if (isGone || next.databaseId !== previous.databaseId) credentials.forget(previous);
    if (isGone || next.slug !== previous.slug) gates.drop(previous.key);
  };
  const table = createRouteTable(onChange);
  const feed = startFeed({ controlPlane, region, table, logger });
  const acceptsSchema = { min: accepts.min ?? null, max: accepts.max ?? null };
  const acknowledged = (): string | null => pools.inUseSince()?.toString() ?? table.version() ?? null;
  const reporter = startReporter({
    ...{ controlPlane, appVersion, acceptsSchema, acknowledged, logger },
    ...options.reports,
  });
  return {
    middleware: routingMiddleware({
      ...options,
      ...{ table, pools, gates, limits, trusted, reporter, appVersion, accepts },
    }),
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
      await Promise.all([reporter.stop(), feed.stop()]);
      await pools.close();
      credentials.close();
      gates.close();
    },
  };
}

function checkVersion(version: string): string {
  if (AppVersion.safeParse(version).success) return version;
  throw new FleetError({
    code: 'bad_app_version',
    status: 400,
    message: `${version} is not a semantic version`,
    fix: 'name the version of the app like 2.4.0',
  });
}

/** A key that is given as text never changes. */
export function tokenOf(token: string | Token): Token {
  return typeof token === 'function' ? token : () => token;
}
