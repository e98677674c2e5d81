import type { PlacementReport, Tier } from '../../contract/tenant.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import { findDatabase, insertReserved, lockPlacement } from './database-store.ts';
import { CONNECTION_LIMITS, databaseNames, type DatabaseRecord } from './database.ts';
import { modeOf, planPlacement, tenantOf } from './plan.ts';
import { findServer, listPlacementServers } from './store.ts';

interface ReserveRequest {
  databaseId: string;
  tenantId: string;
  region: string;
  tier: Tier;
}

interface Reservation {
  database: DatabaseRecord;
  report: PlacementReport;
}

/**
 * Chooses a server and holds the room there. Idempotent by databaseId.
 * @throws FleetError 409 `no_room`, with the verdict on every server; then nothing is changed
 */
export async function reserveDatabase(tx: Queryable, request: ReserveRequest): Promise<Reservation> {
  await lockPlacement(tx, request.region);
  const existing = await findDatabase(tx, request.databaseId);
  if (existing !== undefined && existing.state !== 'dropped') return reservedBefore(tx, existing);
  const connectionLimit = CONNECTION_LIMITS[request.tier];
  const candidates = await listPlacementServers(tx, request.region);
  const placement = planPlacement({ ...request, connectionLimit }, candidates);
  if (placement.chosen === undefined) throw noRoom(request, placement.considered);
  const database = await insert(tx, request, placement.chosen.id);
  return { database, report: placement.report };
}

/** The same on a server that is made for this database alone. */
export async function reserveOn(
  tx: Queryable,
  request: ReserveRequest,
  server: { serverId: string; name: string },
): Promise<Reservation> {
  const existing = await findDatabase(tx, request.databaseId);
  if (existing !== undefined && existing.state !== 'dropped') return reservedBefore(tx, existing);
  const reason = `no dedicated server in ${request.region} was free: this one is made on RDS`;
  const report = { server: server.name, reason, considered: [] };
  return { database: await insert(tx, request, server.serverId), report };
}

async function insert(tx: Queryable, request: ReserveRequest, serverId: string): Promise<DatabaseRecord> {
  const database: DatabaseRecord = {
    id: request.databaseId,
    tenantId: request.tenantId,
    serverId,
    ...databaseNames(request.databaseId),
    state: 'reserved',
    schemaVersion: null,
    connectionLimit: CONNECTION_LIMITS[request.tier],
  };
  await insertReserved(tx, database);
  return database;
}

async function reservedBefore(tx: Queryable, database: DatabaseRecord): Promise<Reservation> {
  const server = await findServer(tx, database.serverId);
  const report = {
    server: server?.name ?? database.serverId,
    reason: 'the room was already reserved here by an earlier attempt',
    considered: [],
  };
  return { database, report };
}

/** What a region without room answers; another way may be open then. */
export const NO_ROOM = 'no_room';

function noRoom({ region, tier }: ReserveRequest, considered: PlacementReport['considered']): FleetError {
  const flags = `NAME --region ${region} --mode ${modeOf(tier)}`;
  return new FleetError({
    code: NO_ROOM,
    status: 409,
    message:
      considered.length === 0
        ? `region ${region} has no server, so there is no room for ${tenantOf(tier)}`
        : `no server in region ${region} has room for ${tenantOf(tier)}`,
    fix:
      `make a server (fleet server create ${flags}), register one (fleet server add ${flags} --url-file FILE), ` +
      'or uncordon one; then try again',
    errors: considered.map((entry) => ({ path: entry.server, message: entry.verdict })),
  });
}
