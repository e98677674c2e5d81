import { z } from 'zod';
import { RouteCredential, RouteSnapshot } from '../../contract/route.ts';
import { RegionName } from '../../contract/server.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import type { Queryable } from '../../platform/pg.ts';
import { requireRegion, type Caller } from '../access/caller.ts';
import { route, streamRoute, type SliceRoutes } from '../http/route.ts';
import type { Registry } from '../registry/registry.ts';
import { databaseSubject, type Secrets } from '../secrets/secret.ts';
import { createRouteFeed } from './feed.ts';
import { allRoutes, currentVersion, feedRegions, isServedIn, schemaSteps } from './store.ts';

export interface RouteDeps {
  registry: Registry;
  secrets: Secrets;
  logger: Logger;
}

const RegionParams = z.object({ region: RegionName });
/** No fleet has a million migrations. */
const Ordinal = z.coerce.number().int().min(0).max(1_000_000);
const Version = z.string().regex(/^\d{1,18}$/, 'a version of the route table');

/** What a region's tenant apps read: the route table, its changes, and credentials one by one. */
export function routeRoutes(deps: RouteDeps): SliceRoutes {
  return { routes: [snapshotRoute(deps), credentialRoute(deps)], streams: [eventsRoute(deps)] };
}

function snapshotRoute({ secrets }: RouteDeps) {
  return route({
    method: 'get',
    path: '/api/v1/regions/{region}/routes',
    id: 'getRoutes',
    summary: 'The route table of a region',
    tag: 'routes',
    permission: 'route:read',
    params: RegionParams,
    status: 200,
    response: RouteSnapshot,
    handle: async ({ params, caller, tx }) => {
      await requireKnownRegion(tx, caller, params.region);
      // The version first: a change in between is then told twice, never missed.
      const version = await currentVersion(tx);
      const regions = await feedRegions(tx);
      const routes = await allRoutes(tx, params.region, secrets.locate);
      // After the routes: whatever they stand at was published before.
      const steps = await schemaSteps(tx, 0);
      return {
        body: { version, region: params.region, regions, steps, routes },
        headers: { 'Cache-Control': 'no-store' },
      };
    },
  });
}

function credentialRoute({ secrets }: RouteDeps) {
  return route({
    method: 'get',
    path: '/api/v1/regions/{region}/credentials/{databaseId}',
    id: 'getRouteCredential',
    summary: 'The login and password that now open one database of the region',
    tag: 'routes',
    permission: 'route:read',
    params: RegionParams.extend({ databaseId: z.uuid() }),
    status: 200,
    response: RouteCredential,
    handle: async ({ params, caller, tx }) => {
      await requireKnownRegion(tx, caller, params.region);
      // So the values that are handed out are the registry's own, and no remote store is waited for here.
      if (secrets.locate !== undefined) throw notHandedOut();
      const served = await isServedIn(tx, params.region, params.databaseId);
      const current = served ? await secrets.current(tx, databaseSubject(params.databaseId)) : undefined;
      if (current === undefined) throw noSuchDatabase(params.region, params.databaseId);
      return {
        body: { credentialVersion: current.versionId, login: current.login, password: current.password },
        headers: { 'Cache-Control': 'no-store' },
      };
    },
  });
}

function eventsRoute(deps: RouteDeps) {
  const { registry } = deps;
  const feed = createRouteFeed(deps);
  return streamRoute({
    path: '/api/v1/regions/{region}/routes/events',
    id: 'streamRoutes',
    summary: 'Changes of the route table after a version, as server-sent events',
    tag: 'routes',
    permission: 'route:read',
    params: RegionParams,
    query: z.object({ since: Version.optional(), steps: Ordinal.default(0) }),
    stream: async ({ params, query, caller, request, response }) => {
      await requireKnownRegion(registry, caller, params.region);
      // A reconnecting client's Last-Event-ID is newer than the address it first asked for.
      const since = request.get('Last-Event-ID') ?? query.since ?? '0';
      await requireKnownVersion(registry, since);
      await feed.serve(response, { region: params.region, version: since, steps: query.steps });
    },
  });
}

async function requireKnownRegion(db: Queryable, caller: Caller, region: string): Promise<void> {
  requireRegion(caller, region);
  const regions = await feedRegions(db);
  if (regions.some((known) => known.name === region)) return;
  throw new FleetError({ code: 'region_not_found', status: 404, message: `there is no region ${region}` });
}

/** A version from the future comes from a registry that was restored since: the client must start over. */
async function requireKnownVersion(db: Queryable, since: string): Promise<void> {
  if (!Version.safeParse(since).success) {
    throw new FleetError({
      code: 'invalid_version',
      status: 400,
      message: 'the version to resume from is not a number',
      fix: 'send the id of the last event, or the version of a snapshot',
    });
  }
  if (BigInt(since) <= BigInt(await currentVersion(db))) return;
  throw new FleetError({
    code: 'version_gone',
    status: 410,
    message: `version ${since} is not of this registry's history`,
    fix: 'read the snapshot again and resume from its version',
  });
}

function notHandedOut(): FleetError {
  return new FleetError({
    code: 'credentials_elsewhere',
    status: 409,
    message:
      'the credentials of this fleet are in Secrets Manager; tenant apps read them there by their own role',
    fix: 'start the tenant app with FLEET_SECRET_STORE=aws and FLEET_AWS_REGIONS, as the control plane is',
  });
}

function noSuchDatabase(region: string, databaseId: string): FleetError {
  return new FleetError({
    code: 'database_not_found',
    status: 404,
    message: `no tenant that is served in region ${region} has database ${databaseId}`,
  });
}
