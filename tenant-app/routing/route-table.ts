import type {
  FeedRegion,
  ForeignRoute,
  LocalRoute,
  RouteChanges,
  RouteSnapshot,
  SchemaStep,
} from '../../contract/route.ts';

export type Route = LocalRoute | ForeignRoute;

/** All routes that this process knows, by host. Replaced and changed by the feed only. */
export interface RouteTable {
  /** `host` as `identifyHost` returns it. */
  find(host: string): Route | undefined;
  region(name: string): FeedRegion | undefined;
  /** The place of a migration in the fleet's order, 1 being the first; undefined when it is not published. */
  ordinalOf: (migration: string) => number | undefined;
  /** Of the last migration that is known; 0 before the first. */
  lastOrdinal(): number;
  replace(snapshot: RouteSnapshot): void;
  apply(changes: RouteChanges): void;
  /** Version of the last snapshot or change; undefined before the first snapshot. */
  version(): string | undefined;
  size(): number;
}

/**
 * Told of each local route that changed or ended (`next` undefined), after the table has it. `before` is the table's
 * version without this change.
 */
export type RouteListener = (previous: LocalRoute, next: LocalRoute | undefined, before: string) => void;

interface State {
  byHost: Map<string, Route>;
  byKey: Map<string, Route>;
  regions: Map<string, FeedRegion>;
  ordinals: Map<string, number>;
  lastOrdinal: number;
  version: string | undefined;
}

export function createRouteTable(onChange: RouteListener = () => undefined): RouteTable {
  const state: State = {
    byHost: new Map(),
    byKey: new Map(),
    regions: new Map(),
    ordinals: new Map(),
    lastOrdinal: 0,
    version: undefined,
  };
  return {
    find: (host) => state.byHost.get(host),
    region: (name) => state.regions.get(name),
    ordinalOf: (migration) => state.ordinals.get(migration),
    lastOrdinal: () => state.lastOrdinal,
    replace: (snapshot) => replace(state, snapshot, onChange),
    apply: (changes) => apply(state, changes, onChange),
    version: () => state.version,
    size: () => state.byKey.size,
  };
}

function replace(state: State, snapshot: RouteSnapshot, onChange: RouteListener): void {
  const before = state.byKey;
  const version = state.version ?? '0';
  state.byKey = new Map();
  state.byHost = new Map();
  setRegions(state, snapshot.regions);
  state.ordinals = new Map();
  state.lastOrdinal = 0;
  addSteps(state, snapshot.steps);
  for (const route of snapshot.routes) {
    if (route.kind !== 'removed') put(state, route);
  }
  state.version = snapshot.version;
  for (const previous of before.values()) tell(previous, state.byKey.get(previous.key), version, onChange);
}

function apply(state: State, changes: RouteChanges, onChange: RouteListener): void {
  setRegions(state, changes.regions);
  addSteps(state, changes.steps);
  const version = state.version ?? '0';
  const before = new Map(changes.routes.map((route) => [route.key, state.byKey.get(route.key)]));
  // All old hosts go first: within one batch a host may pass from one tenant to another.
  for (const route of before.values()) if (route !== undefined) drop(state, route);
  for (const route of changes.routes) if (route.kind !== 'removed') put(state, route);
  state.version = changes.version;
  for (const [key, previous] of before) {
    if (previous !== undefined) tell(previous, state.byKey.get(key), version, onChange);
  }
}

function setRegions(state: State, regions: FeedRegion[]): void {
  state.regions = new Map(regions.map((region) => [region.name, region]));
}

function addSteps(state: State, steps: SchemaStep[]): void {
  for (const { name, ordinal } of steps) {
    state.ordinals.set(name, ordinal);
    state.lastOrdinal = Math.max(state.lastOrdinal, ordinal);
  }
}

function put(state: State, route: Route): void {
  state.byKey.set(route.key, route);
  for (const host of route.hosts) state.byHost.set(host, route);
}

function drop(state: State, route: Route): void {
  state.byKey.delete(route.key);
  for (const host of route.hosts) {
    // The host may already belong to another route, when the changes of two tenants crossed.
    if (state.byHost.get(host) === route) state.byHost.delete(host);
  }
}

function tell(previous: Route, next: Route | undefined, before: string, onChange: RouteListener): void {
  if (previous.kind === 'local') onChange(previous, next?.kind === 'local' ? next : undefined, before);
}
