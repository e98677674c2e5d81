import type { Transaction } from '../registry/registry.ts';
import type { Secrets } from '../secrets/secret.ts';
import { serverInWrongState, serverSubject, transitionServer } from './server.ts';
import { findServer, moveServer, notifyRetired } from './store.ts';

/** The server is gone: its credentials are destroyed, its row stays as history. Harmless when it is retired. */
export async function retireServer(tx: Transaction, secrets: Secrets, serverId: string): Promise<void> {
  const server = await findServer(tx, serverId);
  if (server === undefined || server.state === 'retired') return;
  const event = server.state === 'provisioning' ? 'abandon' : 'retire';
  const next = transitionServer(server.state, event);
  if (next === undefined || !(await moveServer(tx, serverId, server.state, next))) {
    throw serverInWrongState(server, event);
  }
  await secrets.destroyOwner(tx, serverSubject(serverId));
  await notifyRetired(tx, serverId);
}
