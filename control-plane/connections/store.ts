import type { Connection } from '../../contract/connection.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { ConnectionState, Standing } from './connection.ts';

/** All SQL of the table `connections`. */

export interface NewConnection {
  id: string;
  tenantId: string;
  databaseId: string;
  login: string;
  verifier: string;
  openedBy: string;
  reason: string;
  /** From now. */
  ttlSeconds: number;
}

const JOINS = `
  FROM connections c
  JOIN tenants t ON t.id = c.tenant_id
  JOIN databases d ON d.id = c.database_id
  JOIN servers s ON s.id = d.server_id`;

/** Connections that some worker has something to do for. */
export const OPEN_CONNECTIONS_SQL = `
  SELECT c.id::text ${JOINS}
   WHERE c.state <> 'closed' AND (c.look_at IS NULL OR c.look_at <= now())
     AND (c.state = 'opening' OR c.close_asked IS NOT NULL OR c.expires_at <= now()
          OR t.state <> 'active' OR d.state <> 'ready')`;

export async function insertConnection(tx: Queryable, row: NewConnection): Promise<void> {
  await tx.query(
    `INSERT INTO connections (id, tenant_id, database_id, login, state, verifier, opened_by, reason, expires_at)
     VALUES ($1, $2, $3, $4, 'opening', $5, $6, $7, now() + make_interval(secs => $8))`,
    [row.id, row.tenantId, row.databaseId, row.login, row.verifier, row.openedBy, row.reason, row.ttlSeconds],
  );
}

export async function countLive(db: Queryable, tenantId: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    "SELECT count(*)::int AS count FROM connections WHERE tenant_id = $1 AND state <> 'closed'",
    [tenantId],
  );
  return rows[0]?.count ?? 0;
}

type Row = Omit<Connection, 'createdAt' | 'expiresAt' | 'closedAt'> & {
  createdAt: Date;
  expiresAt: Date;
  closedAt: Date | null;
};

/** A connection of the tenant, in any state. */
export async function findConnection(
  db: Queryable,
  tenantId: string,
  id: string,
): Promise<Connection | undefined> {
  const { rows } = await db.query<Row>(
    `SELECT c.id, t.slug AS tenant, t.region, c.state, s.host, s.port, d.name AS database, c.login, s.tls,
            c.opened_by AS "openedBy", c.reason, c.created_at AS "createdAt", c.expires_at AS "expiresAt",
            c.closed_at AS "closedAt", c.closed_because AS "closedBecause" ${JOINS}
      WHERE c.tenant_id = $1 AND c.id = $2`,
    [tenantId, id],
  );
  const [row] = rows;
  return row === undefined
    ? undefined
    : {
        ...row,
        createdAt: row.createdAt.toISOString(),
        expiresAt: row.expiresAt.toISOString(),
        closedAt: row.closedAt?.toISOString() ?? null,
      };
}

/** Notes that somebody wants them closed. Returns the ids of those that are open. */
export async function askToClose(
  tx: Queryable,
  tenantId: string,
  id: string | undefined,
  by: string,
): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `UPDATE connections SET close_asked = coalesce(close_asked, $3), look_at = NULL
      WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id = $2) AND state <> 'closed' RETURNING id`,
    [tenantId, id ?? null, by],
  );
  return rows.map((row) => row.id);
}

/** What a worker has to know to make the login, or to end it. */
export interface CarriedConnection extends Standing {
  id: string;
  state: ConnectionState;
  login: string;
  verifier: string | null;
  expiresAt: Date;
  openedBy: string;
  tenantId: string;
  tenant: string;
  region: string;
  databaseId: string;
  serverId: string;
  /** Where the server was removed from the fleet nothing can be closed any more. */
  serverRetired: boolean;
}

/**
 * Holds the connection and its tenant until the transaction ends: whoever suspends or deletes the tenant waits until
 * the login is made, and then finds it. Undefined when it is closed.
 */
export async function lockConnection(tx: Queryable, id: string): Promise<CarriedConnection | undefined> {
  const { rows } = await tx.query<CarriedConnection>(
    `SELECT c.id, c.state, c.login, c.verifier, c.expires_at AS "expiresAt", c.opened_by AS "openedBy",
            c.close_asked AS "closeAsked", c.expires_at <= now() AS expired, t.id AS "tenantId", t.slug AS tenant,
            t.region, t.state AS "tenantState", d.id AS "databaseId", d.state = 'ready' AS "databaseReady",
            s.id AS "serverId", s.state = 'retired' AS "serverRetired" ${JOINS}
      WHERE c.id = $1 AND c.state <> 'closed' FOR UPDATE OF c FOR SHARE OF t`,
    [id],
  );
  return rows[0];
}

/** Moves a row that is locked; the verifier is not needed any more. */
export async function moveConnection(
  tx: Queryable,
  id: string,
  to: ConnectionState,
  because: string | null,
): Promise<void> {
  await tx.query(
    `UPDATE connections SET state = $2, verifier = NULL, look_at = NULL, closed_because = $3,
            closed_at = CASE WHEN $2 = 'closed' THEN now() END
      WHERE id = $1 AND state <> 'closed'`,
    [id, to, because],
  );
}

export async function lookAgain(tx: Queryable, id: string, inMs: number): Promise<void> {
  await tx.query("UPDATE connections SET look_at = now() + $2 * interval '1 millisecond' WHERE id = $1", [
    id,
    inMs,
  ]);
}
