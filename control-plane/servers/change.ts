import type { Asker } from '../access/caller.ts';
import { auditAsked } from '../audit/audit.ts';
import { requireVersion } from '../http/conflict.ts';
import { inProgress } from '../operations/operation.ts';
import { findOpenOperation } from '../operations/store.ts';
import type { Transaction } from '../registry/registry.ts';
import type { Secrets } from '../secrets/secret.ts';
import { lockPlacement } from './database-store.ts';
import { serverInUse } from './registration.ts';
import {
  serverInWrongState,
  serverNotFound,
  serverSubject,
  transitionServer,
  type ServerUsage,
} from './server.ts';
import { findServer, moveServer, notifyRetired } from './store.ts';

/**
 * Cordon and uncordon. Under the placement lock, so that no reservation that is under way slips in after it.
 * @throws FleetError 412 `version_conflict`, 409 `wrong_state`, `operation_in_progress`
 */
export async function changeServer(
  tx: Transaction,
  seen: ServerUsage,
  event: 'cordon' | 'uncordon',
  asker: Asker,
): Promise<ServerUsage> {
  await lockPlacement(tx, seen.region);
  const server = await reread(tx, seen.id);
  const open = await findOpenOperation(tx, serverSubject(server.id));
  // Nothing is placed on a server that is just being deleted.
  if (open !== undefined && event === 'uncordon') throw inProgress(server.name, open);
  return move(tx, server, event, asker);
}

/**
 * Takes an empty server out of the fleet: its admin credential is destroyed, its data is left alone. An
 * embedded cluster's process is stopped right after the commit, by whoever has it on its machine.
 * @throws FleetError 412 `version_conflict`, 409 `server_in_use`, `wrong_state`
 */
export async function removeServer(
  tx: Transaction,
  secrets: Secrets,
  seen: ServerUsage,
  asker: Asker,
): Promise<ServerUsage> {
  await lockPlacement(tx, seen.region);
  const server = await reread(tx, seen.id);
  if (server.databases > 0) throw serverInUse(server.name, server.databases);
  const retired = await move(tx, server, 'retire', asker);
  await secrets.destroyOwner(tx, serverSubject(server.id));
  await notifyRetired(tx, server.id);
  return retired;
}

async function move(
  tx: Transaction,
  server: ServerUsage,
  event: 'cordon' | 'uncordon' | 'retire',
  asker: Asker,
): Promise<ServerUsage> {
  requireVersion({ noun: 'server', name: server.name, version: server.version }, asker.ifMatch);
  const next = transitionServer(server.state, event);
  if (next === undefined || !(await moveServer(tx, server.id, server.state, next))) {
    throw serverInWrongState(server, event);
  }
  auditAsked(tx, asker, {
    action: event === 'retire' ? 'server.remove' : `server.${event}`,
    resource: `server:${server.name}`,
    region: server.region,
    before: { state: server.state },
    after: { state: next },
  });
  return reread(tx, server.id);
}

async function reread(tx: Transaction, id: string): Promise<ServerUsage> {
  const server = await findServer(tx, id);
  if (server === undefined) throw serverNotFound(id);
  return server;
}
