import type { LocalRoute } from '../../contract/route.ts';
import { RoutingError } from './problem.ts';
import type { RouteTable } from './route-table.ts';

/** The migrations between which a tenant's schema has to stand for this app to serve it. */
export interface AcceptedSchema {
  /** The last migration that the app needs. */
  min?: string | undefined;
  /** The last one that it can bear; absent: whatever comes. */
  max?: string | undefined;
}

/** Whether the app can serve a tenant whose database stands at a migration. */
export type SchemaFit = 'fits' | 'behind' | 'ahead';

/**
 * Judges by the order of published migrations. A bound that nobody has published yet lies behind all that are; a
 * database at something that was never published is served, as nothing can be said of it.
 */
export function schemaFit(
  accepts: AcceptedSchema,
  schema: string | null,
  ordinalOf: (migration: string) => number | undefined,
): SchemaFit {
  const { min, max } = accepts;
  if (min === undefined && max === undefined) return 'fits';
  const at = schema === null ? 0 : ordinalOf(schema);
  if (at === undefined) return 'fits';
  if (min !== undefined && schema !== min && at < (ordinalOf(min) ?? Infinity)) return 'behind';
  if (max !== undefined && schema !== max && at > (ordinalOf(max) ?? Infinity)) return 'ahead';
  return 'fits';
}

/** 30 s: a rollout gets to a tenant, or a new version of the app is started, in minutes rather than seconds. */
const RETRY_S = 30;

/** @throws RoutingError 503 `schema_out_of_range` */
export function requireFit(
  { accepts, appVersion, table }: { accepts: AcceptedSchema; appVersion: string; table: RouteTable },
  route: LocalRoute,
): void {
  const fit = schemaFit(accepts, route.schemaVersion, table.ordinalOf);
  if (fit === 'fits') return;
  const has = route.schemaVersion ?? 'no migration at all';
  const behind = fit === 'behind';
  throw new RoutingError({
    code: 'schema_out_of_range',
    status: 503,
    message: behind
      ? `version ${appVersion} of this app needs ${accepts.min ?? ''}; this tenant's database is at ${has}`
      : `version ${appVersion} of this app works up to ${accepts.max ?? ''}; this tenant's database is at ${has}`,
    fix: behind
      ? 'the operator has to bring the release that the app needs to this tenant'
      : 'the operator has to deploy a newer version of the app',
    retryAfterS: RETRY_S,
  });
}
