import { randomUUID } from 'node:crypto';
import { FleetError } from '../../../platform/errors.ts';
import { requireRegion, type Asker } from '../../access/caller.ts';
import { wrongState } from '../../http/conflict.ts';
import { findOpenOperation } from '../../operations/store.ts';
import type { Transaction } from '../../registry/registry.ts';
import { isStopped } from '../../servers/providers/rds/store.ts';
import { serverNotFound, serverSubject } from '../../servers/server.ts';
import { startOnServer } from '../../servers/start-operation.ts';
import { findServer } from '../../servers/store.ts';
import { rotateServer, type RotateServerInput } from './rotate.ts';

/** In these the fleet has the server's admin, and needs it. */
const STATES = ['ready', 'cordoned', 'draining'];

/**
 * Starts to rotate the credentials of a server's admin and its migrators, or joins the rotation that is under way.
 * @throws FleetError 404 `server_not_found`, 409 `wrong_state`, `server_stopped`, `operation_in_progress`
 */
export async function startRotateServer(
  tx: Transaction,
  name: string,
  asker: Asker,
): Promise<{ server: string; operationId: string; joined: boolean }> {
  const server = await findServer(tx, name);
  if (server === undefined) throw serverNotFound(name);
  requireRegion(asker.caller, server.region);
  const open = await findOpenOperation(tx, serverSubject(server.id));
  if (open?.kind === rotateServer.kind) return { server: server.name, operationId: open.id, joined: true };
  if (!STATES.includes(server.state)) {
    throw wrongState({ noun: 'server', name: server.name, state: server.state }, 'rotate', STATES);
  }
  if (await isStopped(tx, server.id)) throw serverStopped(server.name);
  const input: RotateServerInput = {
    serverId: server.id,
    name: server.name,
    region: server.region,
    adminLogin: server.adminUser,
    adminDatabase: server.adminDatabase,
    adminVersionId: randomUUID(),
    migratorVersionId: randomUUID(),
  };
  const after = { admin: input.adminVersionId, migrators: input.migratorVersionId };
  const operationId = await startOnServer(tx, server, { definition: rotateServer, input, after }, asker);
  return { server: server.name, operationId, joined: false };
}

function serverStopped(name: string): FleetError {
  return new FleetError({
    code: 'server_stopped',
    status: 409,
    message: `server ${name} is stopped, as its only tenant is suspended: nothing can be changed on it`,
    fix: `fleet tenant list shows who is suspended; fleet tenant resume it, then fleet secret rotate --server ${name}`,
  });
}
