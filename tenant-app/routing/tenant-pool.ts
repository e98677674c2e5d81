import type { LocalRoute, RouteCredential } from '../../contract/route.ts';
import { sqlState } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import { clientConfig, createPool, type PgPool, type PgPoolClient } from '../../platform/pg.ts';

/** The database at the end of a route is not the tenant's: nothing was sent to it but the question. */
export class WrongDatabaseError extends Error {
  constructor(cause?: unknown) {
    super('the database behind the route is not the one of its tenant', { cause });
    this.name = 'WrongDatabaseError';
  }
}

/** 5 s: a server that lives answers in 15 ms; a request must not wait longer for one that does not. */
const CONNECT_TIMEOUT_MS = 5_000;
/** 60 s: bridges the pauses of a person at work; a tenant that is gone for longer pays 10 ms for its return. */
const IDLE_TIMEOUT_MS = 60_000;

/** The parts of a route that a connection depends on: two routes alike in them share a pool. */
export function poolKey(route: LocalRoute): string {
  return `${route.tenantId}/${route.databaseId}/${route.credentialVersion}/${route.endpointEpoch}`;
}

/** Opens no connection. Every connection proves to be of the right database before it is handed out. */
export function createTenantPool(
  route: LocalRoute,
  credential: RouteCredential,
  options: { max: number; statementTimeoutMs: number; logger: Logger },
): PgPool {
  const address = {
    host: route.host,
    port: route.port,
    database: route.database,
    user: credential.login,
    password: credential.password,
    tls: route.tls,
  };
  const config = clientConfig(address, {
    // PostgreSQL cuts the name at 63 bytes; a slug has at most 40.
    applicationName: `fleet-app:${route.slug}`,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    settings: sessionSettings(options.statementTimeoutMs),
  });
  const onConnect = (client: PgPoolClient): Promise<void> => verifyIdentity(client, route, options.logger);
  return createPool(
    {
      ...config,
      max: options.max,
      idleTimeoutMillis: IDLE_TIMEOUT_MS,
      // pg-pool awaits the hook; its types know it as a plain callback.
      onConnect: onConnect as unknown as (client: unknown) => void,
    },
    (error) => options.logger.debug('an idle connection was lost', { tenant: route.slug, error }),
  );
}

function sessionSettings(statementTimeoutMs: number): Record<string, string> {
  return {
    search_path: 'public,pg_temp',
    TimeZone: 'UTC',
    statement_timeout: String(statementTimeoutMs),
    idle_in_transaction_session_timeout: String(statementTimeoutMs),
    // The server stops working for a client that has gone within half a second.
    client_connection_check_interval: '500',
  };
}

interface Identity {
  tenant_id: string;
  database_id: string;
  database: string;
}

async function verifyIdentity(client: PgPoolClient, route: LocalRoute, logger: Logger): Promise<void> {
  const found = await readIdentity(client, route, logger);
  const isRight =
    found?.tenant_id === route.tenantId &&
    found.database_id === route.databaseId &&
    found.database === route.database;
  if (isRight) return;
  logger.error('a database is not the one of its tenant; the connection is refused', {
    tenant: route.slug,
    expected: { tenantId: route.tenantId, databaseId: route.databaseId, database: route.database },
    found,
  });
  throw new WrongDatabaseError();
}

async function readIdentity(
  client: PgPoolClient,
  route: LocalRoute,
  logger: Logger,
): Promise<Identity | undefined> {
  const question = {
    text: 'SELECT tenant_id, database_id, current_database() AS database FROM fleet.identity LIMIT 2',
    query_timeout: CONNECT_TIMEOUT_MS,
  };
  try {
    const { rows } = await client.query<Identity>(question);
    return rows.length === 1 ? rows[0] : undefined;
  } catch (error) {
    const state = sqlState(error);
    // 42: there is no such table, or this login may not read it. Both mean: not a tenant's database.
    if (state === undefined || !state.startsWith('42')) throw error;
    logger.error('a database cannot prove whose it is; the connection is refused', {
      tenant: route.slug,
      error,
    });
    throw new WrongDatabaseError(error);
  }
}
