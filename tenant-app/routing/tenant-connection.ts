import { Socket } from 'node:net';
import pg from 'pg';
import type { LocalRoute, RouteCredential } from '../../contract/route.ts';
import { sqlState } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import { clientConfig, type PgClient } from '../../platform/pg.ts';

/** The database at the end of a route is not the tenant's: nothing was sent to it but the question. */
export class WrongDatabaseError extends Error {
  constructor(cause?: unknown) {
    super('the database behind the route is not the one of its tenant', { cause });
    this.name = 'WrongDatabaseError';
  }
}

/** 5 s: a server that lives answers in 15 ms; a request must not wait longer for one that does not. */
const CONNECT_TIMEOUT_MS = 5_000;

/** A client that is not connected yet, and the socket that it will use. */
export function prepareClient(
  route: LocalRoute,
  credential: RouteCredential,
  statementTimeoutMs: number,
): { client: PgClient; socket: Socket } {
  const address = {
    host: route.host,
    port: route.port,
    database: route.database,
    user: credential.login,
    password: credential.password,
    tls: route.tls,
  };
  const socket = new Socket();
  const client = new pg.Client({
    ...clientConfig(address, {
      // Every login of the server can read it in pg_stat_activity: nothing of the tenant stands in it.
      applicationName: 'fleet-app',
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      settings: sessionSettings(statementTimeoutMs),
    }),
    stream: () => socket,
  });
  // Told by the query that it fails, or by the end of the connection; unheard it would end the process.
  client.on('error', () => undefined);
  return { client, socket };
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

/** Connects, and makes sure whose database it is before anything else is sent. @throws WrongDatabaseError */
export async function connectTo(client: PgClient, route: LocalRoute, logger: Logger): Promise<void> {
  await client.connect();
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

interface Identity {
  tenant_id: string;
  database_id: string;
  database: string;
}

async function readIdentity(
  client: PgClient,
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
