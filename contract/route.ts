import { z } from 'zod';

/** A tenant of the app's own region: everything but the password. */
export const LocalRoute = z.object({
  kind: z.literal('local'),
  key: z.string(),
  hosts: z.array(z.string()),
  tenantId: z.uuid(),
  slug: z.string(),
  tier: z.string(),
  state: z.enum(['active', 'suspended', 'moving']),
  databaseId: z.uuid(),
  database: z.string(),
  host: z.string(),
  port: z.number().int(),
  tls: z.enum(['disable', 'require', 'verify-full']),
  login: z.string(),
  /** Id of the secret version whose password opens `login`. */
  credentialVersion: z.uuid(),
  /** Name of the secret in Secrets Manager that this is a version of; absent where apps ask the control plane for it. */
  secret: z.string().optional(),
  endpointEpoch: z.number().int(),
  /** Connections that this database may have in all; and its server. */
  connectionLimit: z.number().int(),
  serverId: z.uuid(),
  serverMaxConnections: z.number().int(),
  schemaVersion: z.string().nullable(),
});
export type LocalRoute = z.infer<typeof LocalRoute>;

/** A tenant of another region: host and region, nothing else. `key` is opaque. */
export const ForeignRoute = z.object({
  kind: z.literal('foreign'),
  key: z.string(),
  hosts: z.array(z.string()),
  region: z.string(),
});
export type ForeignRoute = z.infer<typeof ForeignRoute>;

/** The tenant behind `key` is no longer served: unknown from now on. */
export const RemovedRoute = z.object({ kind: z.literal('removed'), key: z.string() });
export type RemovedRoute = z.infer<typeof RemovedRoute>;

export const Route = z.discriminatedUnion('kind', [LocalRoute, ForeignRoute, RemovedRoute]);
export type Route = z.infer<typeof Route>;

/** A migration's place in the one order of all that are published: it never changes. */
export const SchemaStep = z.object({ name: z.string(), ordinal: z.number().int() });
export type SchemaStep = z.infer<typeof SchemaStep>;

export const FeedRegion = z.object({ name: z.string(), domain: z.string(), appUrl: z.string().nullable() });
export type FeedRegion = z.infer<typeof FeedRegion>;

/**
 * `GET /api/v1/regions/{region}/routes`: the whole table at `version`. Then
 * `GET /api/v1/regions/{region}/routes/events?since=VERSION&steps=ORDINAL`: the changes after it as server-sent events
 * named `changes`, each event's id being its version and its data a RouteChanges.
 */
export const RouteSnapshot = z.object({
  version: z.string(),
  region: z.string(),
  regions: z.array(FeedRegion),
  /** All published migrations, in order: what `schemaVersion` is told apart by. */
  steps: z.array(SchemaStep),
  routes: z.array(Route),
});
export type RouteSnapshot = z.infer<typeof RouteSnapshot>;

export const RouteChanges = z.object({
  version: z.string(),
  /** All regions as they are now: a region's address may have changed with them. */
  regions: z.array(FeedRegion),
  /** Migrations behind the one that the client said, or was told, last. */
  steps: z.array(SchemaStep),
  routes: z.array(Route),
});
export type RouteChanges = z.infer<typeof RouteChanges>;

/** `GET /api/v1/regions/{region}/credentials/{databaseId}`: for the region's app only, with the `local` store. */
export const RouteCredential = z.object({
  credentialVersion: z.uuid(),
  login: z.string(),
  password: z.string(),
});
export type RouteCredential = z.infer<typeof RouteCredential>;
