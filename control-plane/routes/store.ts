import type { FeedRegion, Route, SchemaStep } from '../../contract/route.ts';
import { sha256 } from '../../platform/crypto.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { Secrets } from '../secrets/secret.ts';

/** What the query below tells of one tenant; the database's part is null while there is none that serves. */
interface RouteRow {
  version: string;
  tenant_id: string;
  slug: string;
  tier: string;
  region: string;
  state: string;
  hosts: string[];
  database_id: string | null;
  database: string | null;
  schema_version: string | null;
  connection_limit: number | null;
  server_id: string | null;
  server_region: string | null;
  host: string | null;
  port: number | null;
  tls: 'disable' | 'require' | 'verify-full' | null;
  endpoint_epoch: number | null;
  max_connections: number | null;
  login: string | null;
  credential_version: string | null;
  /** The credential's owner, subject and region. */
  secret_owner: string | null;
  secret_subject: string | null;
  secret_region: string | null;
}

type Locate = Secrets['locate'];

const ROUTES = `
  SELECT c.version, t.id AS tenant_id, t.slug, t.tier, t.region, t.state,
         array_prepend(t.slug || '.' || r.domain,
           ARRAY(SELECT host FROM domains WHERE tenant_id = t.id ORDER BY host)) AS hosts,
         d.id AS database_id, d.name AS database, d.schema_version, d.connection_limit,
         s.id AS server_id, s.region AS server_region, s.host, s.port, s.tls, s.endpoint_epoch,
         s.max_connections, v.login, v.id AS credential_version,
         v.owner AS secret_owner, v.subject AS secret_subject, v.region AS secret_region
    FROM route_changes c
    JOIN tenants t ON t.id = c.tenant_id
    JOIN regions r ON r.name = t.region
    LEFT JOIN databases d ON d.tenant_id = t.id AND d.state = 'ready'
    LEFT JOIN servers s ON s.id = d.server_id
    LEFT JOIN secret_versions v ON v.subject = 'database:' || d.id AND v.stage = 'current'`;

const SERVED_STATES = new Set(['active', 'suspended', 'moving']);

/** The version of the last change; '0' in an empty fleet. */
export async function currentVersion(db: Queryable): Promise<string> {
  const { rows } = await db.query<{ version: string }>(
    'SELECT coalesce(max(version), 0)::text AS version FROM route_changes',
  );
  return rows[0]?.version ?? '0';
}

/** All tenants that are served, as `region` may see them. `locate` says where apps read credentials, if they do. */
export async function allRoutes(db: Queryable, region: string, locate: Locate): Promise<Route[]> {
  const { rows } = await db.query<RouteRow>(`${ROUTES} WHERE t.state IN ('active', 'suspended', 'moving')`);
  return rows.map((row) => routeFor(region, row, locate)).filter((route) => route.kind !== 'removed');
}

/** Up to `limit` changes after `since`, oldest first, with the version that they lead to. */
export async function routesSince(
  db: Queryable,
  region: string,
  { since, limit, locate }: { since: string; limit: number; locate: Locate },
): Promise<{ version: string; routes: Route[] }> {
  const { rows } = await db.query<RouteRow>(
    `${ROUTES} WHERE c.version > $1::bigint ORDER BY c.version LIMIT $2`,
    [since, limit],
  );
  return { version: rows.at(-1)?.version ?? since, routes: rows.map((row) => routeFor(region, row, locate)) };
}

/**
 * What an app of `region` is told of a tenant. A tenant whose database stands in another region than the
 * tenant itself is not served at all: better unknown than served across a border.
 */
function routeFor(region: string, row: RouteRow, locate: Locate): Route {
  const key = routeKey(row.tenant_id);
  if (!SERVED_STATES.has(row.state)) return { kind: 'removed', key };
  if (row.region !== region) return { kind: 'foreign', key, hosts: row.hosts, region: row.region };
  return localRoute(key, row, locate) ?? { kind: 'removed', key };
}

function localRoute(key: string, row: RouteRow, locate: Locate): Route | undefined {
  if (row.database_id === null || row.database === null || row.connection_limit === null) return undefined;
  if (row.server_id === null || row.server_region !== row.region) return undefined;
  if (row.host === null || row.port === null || row.tls === null) return undefined;
  if (row.login === null || row.credential_version === null) return undefined;
  if (row.secret_owner === null || row.secret_subject === null || row.secret_region !== row.region) return;
  return {
    kind: 'local',
    key,
    hosts: row.hosts,
    tenantId: row.tenant_id,
    slug: row.slug,
    tier: row.tier,
    state: row.state as 'active' | 'suspended' | 'moving',
    databaseId: row.database_id,
    database: row.database,
    host: row.host,
    port: row.port,
    tls: row.tls,
    login: row.login,
    credentialVersion: row.credential_version,
    ...(locate === undefined
      ? {}
      : { secret: locate({ owner: row.secret_owner, subject: row.secret_subject, region: row.region }) }),
    endpointEpoch: row.endpoint_epoch ?? 1,
    connectionLimit: row.connection_limit,
    serverId: row.server_id,
    serverMaxConnections: row.max_connections ?? 1,
    schemaVersion: row.schema_version,
  };
}

/**
 * Names a route alike in every region, so that a tenant that moves replaces its own route; tells nothing of
 * the tenant, whose id is a random 128-bit number.
 */
function routeKey(tenantId: string): string {
  return sha256(`route:${tenantId}`).slice(0, 32);
}

/** All regions, with where each is served: what an app answers a stranger with. */
export async function feedRegions(db: Queryable): Promise<FeedRegion[]> {
  const { rows } = await db.query<{ name: string; domain: string; app_url: string | null }>(
    'SELECT name, domain, app_url FROM regions ORDER BY name',
  );
  return rows.map((row) => ({ name: row.name, domain: row.domain, appUrl: row.app_url }));
}

/** Published migrations behind `afterOrdinal`, in order. */
export async function schemaSteps(db: Queryable, afterOrdinal: number): Promise<SchemaStep[]> {
  const { rows } = await db.query<SchemaStep>(
    'SELECT name, ordinal FROM migrations WHERE ordinal > $1 ORDER BY ordinal',
    [afterOrdinal],
  );
  return rows;
}

/** Whether the database serves a tenant of `region` and stands there. */
export async function isServedIn(db: Queryable, region: string, databaseId: string): Promise<boolean> {
  const { rows } = await db.query(
    `SELECT 1 FROM databases d JOIN tenants t ON t.id = d.tenant_id JOIN servers s ON s.id = d.server_id
      WHERE d.id = $1 AND d.state = 'ready' AND t.region = $2 AND s.region = $2
        AND t.state IN ('active', 'suspended', 'moving')`,
    [databaseId, region],
  );
  return rows.length > 0;
}
