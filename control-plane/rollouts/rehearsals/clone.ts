import { sha256 } from '../../../platform/crypto.ts';
import { SQLSTATE, sqlState } from '../../../platform/errors.ts';
import { quoteIdent, type PgPoolClient } from '../../../platform/pg.ts';
import type { ServerAccess } from '../../servers/access.ts';
import { openToMigratorSql } from '../../servers/migrator.ts';

/**
 * Copies of tenants' databases, on the same server: nothing leaves the region. Each lives for one try. Whoever has
 * one holds an advisory lock by its name, so that a copy whose lock is free has been left behind, and whoever comes
 * by drops it.
 */
export interface CloneRequest {
  serverId: string;
  /** The tenant's database. */
  source: string;
  ownerRole: string;
  clone: string;
  /** How long the copying may take, in milliseconds: nobody can connect to the source meanwhile. */
  maxCopyMs: number;
}

const PREFIX = 'fleet_rehearsal_';
/** 96 bits of a hash: no two databases of two rehearsals meet. */
const HASH_LENGTH = 24;
/** The worker's, and one to look. */
const CONNECTIONS = 5;
/** Names of sessions that a refusal tells. */
const SESSIONS_TOLD = 3;

/** The same for whoever carries the rehearsal. */
export function cloneName(rehearsalId: string, databaseId: string): string {
  return `${PREFIX}${sha256(`${rehearsalId}/${databaseId}`).slice(0, HASH_LENGTH)}`;
}

/** Why there is no copy: others are connected to the source, or it is too big to be copied so soon. */
export class CloneRefusedError extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'CloneRefusedError';
  }
}

/**
 * Makes the copy, lets `work` have it, and drops it. Only the migrator can connect to it.
 * @throws CloneRefusedError; what `work` throws; errors of the server as the driver gives them
 */
export async function withClone<T>(
  servers: ServerAccess,
  request: CloneRequest,
  work: () => Promise<T>,
): Promise<T> {
  return servers.admin(request.serverId, async (admin) => {
    // Waits for a predecessor's last statement to end. After an error the lock goes with the connection.
    await admin.query(LOCK_SQL, [request.clone]);
    await drop(admin, request.clone);
    try {
      await copy(admin, request);
      return await work();
    } finally {
      await drop(admin, request.clone);
      await admin.query(UNLOCK_SQL, [request.clone]);
    }
  });
}

const LOCK_SQL = 'SELECT pg_advisory_lock(hashtextextended($1, 0))';
const UNLOCK_SQL = 'SELECT pg_advisory_unlock(hashtextextended($1, 0))';

/** It is born closed, without the source's rights and settings: the tenant's logins have no way in. */
async function copy(admin: PgPoolClient, request: CloneRequest): Promise<void> {
  const { source, clone, ownerRole, maxCopyMs } = request;
  // Asked first: CREATE DATABASE waits 5 s for sessions to leave, and lets no new ones in.
  await refuseOccupied(admin, source);
  await admin.query(`SET statement_timeout = ${maxCopyMs}`);
  try {
    await admin.query(
      `CREATE DATABASE ${quoteIdent(clone)} TEMPLATE ${quoteIdent(source)}
         ALLOW_CONNECTIONS false CONNECTION LIMIT ${CONNECTIONS}`,
    );
  } catch (error) {
    if (sqlState(error) === SQLSTATE.objectInUse) await refuseOccupied(admin, source);
    if (sqlState(error) !== SQLSTATE.queryCanceled) throw error;
    throw new CloneRefusedError(
      `copying ${source} takes longer than ${maxCopyMs} ms, and nobody can connect to it meanwhile; suspend the tenant, or give more time: --max-hold`,
    );
  } finally {
    await admin.query('RESET statement_timeout');
  }
  await admin.query(`REVOKE ALL ON DATABASE ${quoteIdent(clone)} FROM PUBLIC;
    ${openToMigratorSql(clone, ownerRole)}
    ALTER DATABASE ${quoteIdent(clone)} ALLOW_CONNECTIONS true`);
}

/** @throws CloneRefusedError when anybody is connected */
async function refuseOccupied(admin: PgPoolClient, database: string): Promise<void> {
  const { rows } = await admin.query<{ name: string; sessions: number }>(
    `SELECT coalesce(nullif(application_name, ''), 'unnamed') AS name, count(*)::int AS sessions
       FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'
      GROUP BY 1 ORDER BY 2 DESC, 1`,
    [database],
  );
  if (rows.length === 0) return;
  const sessions = rows.reduce((sum, row) => sum + row.sessions, 0);
  const names = rows.slice(0, SESSIONS_TOLD).map(({ name }) => name);
  throw new CloneRefusedError(
    `${sessions} ${sessions === 1 ? 'session is' : 'sessions are'} connected (${names.join(', ')}), and a database is copied only without any; suspend the tenant, or rehearse it in place`,
  );
}

async function drop(admin: PgPoolClient, clone: string): Promise<void> {
  await admin.query(`DROP DATABASE IF EXISTS ${quoteIdent(clone)} WITH (FORCE)`);
}

/** Drops the copies on a server that nobody holds any more; answers their names. */
export async function dropLeftClones(servers: ServerAccess, serverId: string): Promise<string[]> {
  return servers.admin(serverId, async (admin) => {
    const { rows } = await admin.query<{ name: string }>(
      `SELECT datname AS name FROM pg_database
        WHERE datname ~ $1 AND pg_get_userbyid(datdba) = current_user ORDER BY datname`,
      [`^${PREFIX}[0-9a-f]{${HASH_LENGTH}}$`],
    );
    const dropped: string[] = [];
    for (const { name } of rows) {
      const lock = await admin.query<{ free: boolean }>(
        'SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS free',
        [name],
      );
      if (lock.rows[0]?.free !== true) continue;
      await drop(admin, name);
      await admin.query(UNLOCK_SQL, [name]);
      dropped.push(name);
    }
    return dropped;
  });
}

/** Which of these databases nobody is connected to, with their sizes in bytes; the biggest first. */
export async function idleDatabases(
  servers: ServerAccess,
  serverId: string,
  names: readonly string[],
): Promise<{ name: string; bytes: number }[]> {
  return servers.admin(serverId, async (admin) => {
    const { rows } = await admin.query<{ name: string; bytes: number }>(
      `SELECT d.datname AS name, pg_database_size(d.oid)::float8 AS bytes FROM pg_database d
        WHERE d.datname = ANY ($1)
          AND NOT EXISTS (SELECT FROM pg_stat_activity a
                           WHERE a.datid = d.oid AND a.backend_type = 'client backend')
        ORDER BY bytes DESC, d.datname`,
      [names],
    );
    return rows;
  });
}
