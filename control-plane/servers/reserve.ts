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
  const database: DatabaseRecord = {
    id: request.databaseId,
    tenantId: request.tenantId,
    serverId: placement.chosen.id,
    ...databaseNames(request.databaseId),
    state: 'reserved',
    schemaVersion: null,
    connectionLimit,
  };
  await insertReserved(tx, database);
  return { database, report: placement.report };
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

function noRoom({ region, tier }: ReserveRequest, considered: PlacementReport['considered']): FleetError {
  const flags = `NAME --region ${region} --mode ${modeOf(tier)}`;
  return new FleetError({
    code: 'no_room',
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
