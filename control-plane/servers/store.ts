import type { ServerState } from '../../contract/server.ts';
import type { Queryable } from '../../platform/pg.ts';
import { isUuid } from '../../platform/uuid.ts';
import type { ServerRecord, ServerUsage } from './server.ts';

const COLUMNS = `s.id, s.name, s.region, s.provider, s.mode, s.state, s.host, s.port, s.tls,
  s.admin_user AS "adminUser", s.admin_database AS "adminDatabase", s.endpoint_epoch AS "endpointEpoch",
  s.max_databases AS "maxDatabases", s.max_connections AS "maxConnections",
  s.server_version AS "serverVersion", s.reachable, s.version, s.created_at AS "createdAt",
  (SELECT json_build_object('identifier', i.identifier, 'adopted', i.adopted, 'stopped', i.stopped, 'drift', i.drift,
     'checkedAt', to_char(i.checked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
     FROM rds_instances i WHERE i.server_id = s.id) AS instance`;

const USAGE = `LEFT JOIN LATERAL (
  SELECT count(*)::int AS databases, coalesce(sum(d.connection_limit), 0)::int AS connections
    FROM databases d WHERE d.server_id = s.id AND d.state <> 'dropped') u ON true`;

/** By id, or by name; a name that several had in turn means the live one, else the last retired one. */
export async function findServer(db: Queryable, nameOrId: string): Promise<ServerUsage | undefined> {
  const { rows } = await db.query<ServerUsage>(
    `SELECT ${COLUMNS}, u.databases, u.connections FROM servers s ${USAGE}
      WHERE ${isUuid(nameOrId) ? 's.id = $1::uuid' : 's.name = $1'}
      ORDER BY s.state = 'retired', s.created_at DESC LIMIT 1`,
    [nameOrId],
  );
  return rows[0];
}

export interface ServerPage {
  region?: string | undefined;
  state?: ServerState | undefined;
  /** null = all. */
  regions: string[] | null;
  after?: { name: string; id: string } | undefined;
  limit: number;
}

/** By name. Retired servers only when asked for by state. */
export async function listServers(db: Queryable, page: ServerPage): Promise<ServerUsage[]> {
  const { rows } = await db.query<ServerUsage>(
    `SELECT ${COLUMNS}, u.databases, u.connections FROM servers s ${USAGE}
      WHERE ($1::text IS NULL OR s.region = $1)
        AND CASE WHEN $2::text IS NULL THEN s.state <> 'retired' ELSE s.state = $2 END
        AND ($3::text[] IS NULL OR s.region = ANY ($3))
        AND ($4::text IS NULL OR (s.name, s.id) > ($4, $5::uuid))
      ORDER BY s.name, s.id LIMIT $6`,
    [
      page.region ?? null,
      page.state ?? null,
      page.regions,
      page.after?.name ?? null,
      page.after?.id ?? null,
      page.limit,
    ],
  );
  return rows;
}

/** All servers of a region, with the room they have: what placement chooses from. */
export async function listPlacementServers(db: Queryable, region: string): Promise<ServerUsage[]> {
  const { rows } = await db.query<ServerUsage>(
    `SELECT ${COLUMNS}, u.databases, u.connections FROM servers s ${USAGE}
      WHERE s.region = $1 AND s.state <> 'retired' ORDER BY s.name`,
    [region],
  );
  return rows;
}

/** Servers that should answer (one that was stopped on purpose should not), of one provider or of all. */
export async function listLiveServers(
  db: Queryable,
  provider: ServerRecord['provider'] | null,
): Promise<ServerRecord[]> {
  const { rows } = await db.query<ServerRecord>(
    `SELECT ${COLUMNS} FROM servers s
      WHERE s.state NOT IN ('provisioning', 'retired') AND ($1::text IS NULL OR s.provider = $1)
        AND NOT EXISTS (SELECT FROM rds_instances i WHERE i.server_id = s.id AND i.stopped)
      ORDER BY s.name`,
    [provider],
  );
  return rows;
}

/** Name of the live server at this address, if there is one. */
export async function findServerAt(db: Queryable, host: string, port: number): Promise<string | undefined> {
  const { rows } = await db.query<{ name: string }>(
    "SELECT name FROM servers WHERE host = $1 AND port = $2 AND state <> 'retired' LIMIT 1",
    [host, port],
  );
  return rows[0]?.name;
}

/** Retired servers of a provider, whose processes may still have to be stopped. */
export async function listRetiredServers(
  db: Queryable,
  provider: ServerRecord['provider'],
): Promise<ServerRecord[]> {
  const { rows } = await db.query<ServerRecord>(
    `SELECT ${COLUMNS} FROM servers s WHERE s.state = 'retired' AND s.provider = $1`,
    [provider],
  );
  return rows;
}

export type NewServer = Omit<
  ServerRecord,
  | 'state'
  | 'instance'
  | 'endpointEpoch'
  | 'serverVersion'
  | 'reachable'
  | 'version'
  | 'createdAt'
  | 'maxDatabases'
> & { maxDatabases?: number | undefined };

/** PostgreSQL works with far more; beyond that its catalogs and start grow slow enough to be noticed. */
const MAX_DATABASES = 1_000;

/** Inserts the server in state provisioning. A taken name raises SQLSTATE 23505. */
export async function insertServer(tx: Queryable, server: NewServer): Promise<void> {
  await tx.query(
    `INSERT INTO servers (id, name, region, provider, mode, state, host, port, tls, admin_user,
                          admin_database, max_databases, max_connections)
     VALUES ($1, $2, $3, $4, $5, 'provisioning', $6, $7, $8, $9, $10, $11, $12)`,
    [
      server.id,
      server.name,
      server.region,
      server.provider,
      server.mode,
      server.host,
      server.port,
      server.tls,
      server.adminUser,
      server.adminDatabase,
      server.mode === 'dedicated' ? 1 : (server.maxDatabases ?? MAX_DATABASES),
      server.maxConnections,
    ],
  );
}

/** Told at the commit of a server's removal. */
export const RETIRED_CHANNEL = 'fleet_servers_retired';

export async function notifyRetired(tx: Queryable, id: string): Promise<void> {
  await tx.query('SELECT pg_notify($1, $2)', [RETIRED_CHANNEL, id]);
}

/** Moves the state; false when it is no longer `from`. */
export async function moveServer(
  tx: Queryable,
  id: string,
  from: ServerState,
  to: ServerState,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    'UPDATE servers SET state = $3, version = version + 1 WHERE id = $1 AND state = $2',
    [id, from, to],
  );
  return rowCount === 1;
}

/**
 * What registration found out: who the admin is, how old the server, and for one that the fleet has made, which no
 * person has measured out, how many connections it takes.
 */
export async function setServerAdmin(
  tx: Queryable,
  id: string,
  admin: { adminUser: string; serverVersion: number; maxConnections: number | null },
): Promise<void> {
  await tx.query(
    `UPDATE servers SET admin_user = $2, server_version = $3, reachable = true, checked_at = now(),
                        version = version + 1,
                        max_connections = CASE WHEN provider IN ('embedded', 'rds') THEN least(max_connections, $4)
                                               ELSE max_connections END
      WHERE id = $1`,
    [id, admin.adminUser, admin.serverVersion, admin.maxConnections],
  );
}

/** A new address raises the endpoint epoch; the same one changes nothing. Answers whether it was new. */
export async function setEndpoint(
  tx: Queryable,
  id: string,
  endpoint: { host: string; port: number },
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `UPDATE servers SET host = $2, port = $3, endpoint_epoch = endpoint_epoch + 1, version = version + 1
      WHERE id = $1 AND (host, port) IS DISTINCT FROM ($2, $3)`,
    [id, endpoint.host, endpoint.port],
  );
  return rowCount === 1;
}

export interface ServerHealth {
  id: string;
  reachable: boolean;
  /** Null keeps what is known. */
  serverVersion: number | null;
}

/** Stores many results in one statement. Not a change of the resource: the ETag stays. */
export async function setHealth(db: Queryable, results: ServerHealth[]): Promise<void> {
  await db.query(
    `UPDATE servers s SET reachable = r.reachable, checked_at = now(),
                          server_version = coalesce(r.server_version, s.server_version)
       FROM unnest($1::uuid[], $2::boolean[], $3::int[]) AS r (id, reachable, server_version)
      WHERE s.id = r.id`,
    [
      results.map((result) => result.id),
      results.map((result) => result.reachable),
      results.map((result) => result.serverVersion),
    ],
  );
}

/** Removes a registration that never became ready, unless databases are on record there. */
export async function deleteProvisioning(tx: Queryable, id: string): Promise<void> {
  await tx.query(
    `DELETE FROM servers s WHERE id = $1 AND state = 'provisioning'
        AND NOT EXISTS (SELECT FROM databases WHERE server_id = s.id)`,
    [id],
  );
}
