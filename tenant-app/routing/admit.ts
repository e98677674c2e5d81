import type { FeedRegion, LocalRoute } from '../../contract/route.ts';
import { RoutingError } from './problem.ts';
import type { Route, RouteTable } from './route-table.ts';

/** 2 s: the hold of a move is of that order, and a client that comes back sooner only waits again. */
const MOVING_RETRY_S = 2;
/** 1 s: the first load of the route table takes less. */
const LOADING_RETRY_S = 1;

/**
 * The route of a host that may be served here and now.
 *
 * @throws RoutingError 404 `tenant_not_found`, 421 `wrong_region`, 423 `tenant_suspended`,
 *   503 `tenant_moving`, 503 `routes_not_loaded`
 */
export function admit(table: RouteTable, host: string): LocalRoute {
  const route = table.find(host);
  if (route?.kind === 'local' && route.state === 'active') return route;
  throw refusal(table, route);
}

function refusal(table: RouteTable, route: Route | undefined): RoutingError {
  if (table.version() === undefined) return notLoaded();
  if (route === undefined) return unknownTenant();
  if (route.kind === 'foreign') return wrongRegion(route.region, table.region(route.region));
  if (route.state === 'suspended') {
    return new RoutingError({
      code: 'tenant_suspended',
      status: 423,
      message: 'this tenant is suspended',
      fix: 'ask the operator of this service to resume it',
    });
  }
  return new RoutingError({
    code: 'tenant_moving',
    status: 503,
    message: 'this tenant is being moved and will be back in a moment',
    retryAfterS: MOVING_RETRY_S,
  });
}

function unknownTenant(): RoutingError {
  return new RoutingError({
    code: 'tenant_not_found',
    status: 404,
    message: 'no tenant is served at this host',
    fix: 'check the host name',
  });
}

/** Tells the region and where its app is: nothing else of a foreign tenant is known here. */
function wrongRegion(name: string, region: FeedRegion | undefined): RoutingError {
  const url = region?.appUrl ?? undefined;
  return new RoutingError({
    code: 'wrong_region',
    status: 421,
    message: `this host is served in region ${name}`,
    fix: url === undefined ? `send the request to region ${name}` : `send the request to ${url}`,
    url,
  });
}

function notLoaded(): RoutingError {
  return new RoutingError({
    code: 'routes_not_loaded',
    status: 503,
    message: 'this process has not loaded its routes yet',
    retryAfterS: LOADING_RETRY_S,
  });
}
