import type { InstanceFinding, ServerState } from '../../../../contract/server.ts';
import type { Queryable } from '../../../../platform/pg.ts';
import type { InstanceSpec } from './instance.ts';

/** What the fleet knows of a server that is an instance on RDS. */
export interface InstanceRecord {
  serverId: string;
  identifier: string;
  spec: InstanceSpec;
  /** Made by somebody else: never deleted by the fleet. */
  adopted: boolean;
  /** Made with this tenant: stops, starts and goes with it. */
  tenantId: string | null;
}

const COLUMNS = 'server_id AS "serverId", identifier, spec, adopted, tenant_id AS "tenantId"';

/** Idempotent by server. */
export async function insertInstance(tx: Queryable, row: InstanceRecord): Promise<void> {
  await tx.query(
    `INSERT INTO rds_instances (server_id, identifier, spec, adopted, tenant_id) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (server_id) DO NOTHING`,
    [row.serverId, row.identifier, JSON.stringify(row.spec), row.adopted, row.tenantId],
  );
}

/** Undefined for servers that are no instances on RDS. */
export async function findInstance(db: Queryable, serverId: string): Promise<InstanceRecord | undefined> {
  const { rows } = await db.query<InstanceRecord>(
    `SELECT ${COLUMNS} FROM rds_instances WHERE server_id = $1`,
    [serverId],
  );
  return rows[0];
}

/** What the instance shall be from now on. */
export async function setSpec(tx: Queryable, serverId: string, spec: InstanceSpec): Promise<void> {
  await tx.query('UPDATE rds_instances SET spec = $2 WHERE server_id = $1', [serverId, JSON.stringify(spec)]);
}

/** While it is stopped on purpose nobody is told that it does not answer. */
export async function setStopped(tx: Queryable, serverId: string, stopped: boolean): Promise<void> {
  await tx.query('UPDATE rds_instances SET stopped = $2 WHERE server_id = $1', [serverId, stopped]);
}

/** Whether the server is an instance that was stopped on purpose. */
export async function isStopped(db: Queryable, serverId: string): Promise<boolean> {
  const { rows } = await db.query('SELECT FROM rds_instances WHERE server_id = $1 AND stopped', [serverId]);
  return rows.length > 0;
}

/** An instance with the server that it is. */
export interface LiveInstance extends InstanceRecord {
  server: string;
  /** Of the server: one that is just being made or deleted is as it is. */
  state: ServerState;
  region: string;
  stopped: boolean;
}

export async function listInstances(db: Queryable): Promise<LiveInstance[]> {
  const { rows } = await db.query<LiveInstance>(
    `SELECT ${COLUMNS}, s.name AS server, s.state, s.region, i.stopped
       FROM rds_instances i JOIN servers s ON s.id = i.server_id
      WHERE s.state <> 'retired' ORDER BY s.name`,
  );
  return rows;
}

/** Stores what differed, in one statement; nothing where all is as it should be. */
export async function setDrift(
  db: Queryable,
  results: { serverId: string; drift: InstanceFinding[] }[],
): Promise<void> {
  await db.query(
    `UPDATE rds_instances i SET drift = r.drift, checked_at = now()
       FROM jsonb_to_recordset($1::jsonb) AS r ("serverId" uuid, drift jsonb) WHERE i.server_id = r."serverId"`,
    [JSON.stringify(results)],
  );
}
