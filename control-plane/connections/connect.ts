import { randomUUID } from 'node:crypto';
import { type Connect, type Disconnect, type OpenedConnection } from '../../contract/connection.ts';
import { durationSeconds } from '../../contract/duration.ts';
import { randomPassword, scramVerifier } from '../../platform/crypto.ts';
import type { Asker } from '../access/caller.ts';
import { auditAsked } from '../audit/audit.ts';
import { wrongState } from '../http/conflict.ts';
import { wake } from '../operations/driver.ts';
import type { Transaction } from '../registry/registry.ts';
import { findLiveDatabase } from '../servers/database-store.ts';
import { readerNames } from '../servers/database.ts';
import { tenantToChange } from '../tenants/admit.ts';
import { connectionNotFound, OPEN_MAX, tooManyConnections } from './connection.ts';
import { CONNECTION } from './driver.ts';
import { askToClose, countLive, findConnection, insertConnection } from './store.ts';

/**
 * Wants a read-only login to the tenant's database, for one person and some minutes. A worker makes it; its password
 * is in this answer and nowhere else.
 * @throws FleetError 409 `wrong_state`, `too_many_connections`
 */
export async function connect(
  tx: Transaction,
  slugOrId: string,
  { ttl, reason }: Connect,
  asker: Asker,
): Promise<OpenedConnection> {
  const tenant = await tenantToChange(tx, slugOrId, asker);
  const database = tenant.state === 'active' ? await findLiveDatabase(tx, tenant.id) : undefined;
  if (database === undefined) {
    throw wrongState({ noun: 'tenant', name: tenant.slug, state: tenant.state }, 'connect', ['active']);
  }
  if ((await countLive(tx, tenant.id)) >= OPEN_MAX) throw tooManyConnections(tenant.slug);
  const [id, password] = [randomUUID(), randomPassword()];
  await insertConnection(tx, {
    id,
    tenantId: tenant.id,
    databaseId: database.id,
    login: readerNames(database.name).login(id),
    verifier: scramVerifier(password),
    openedBy: asker.caller.name,
    reason,
    ttlSeconds: durationSeconds(ttl),
  });
  const connection = await findConnection(tx, tenant.id, id);
  if (connection === undefined) throw connectionNotFound(id);
  auditAsked(
    tx,
    { ...asker, reason },
    {
      action: 'tenant.connect',
      resource: `tenant:${tenant.slug}`,
      region: tenant.region,
      after: { connection: id, login: connection.login, expiresAt: connection.expiresAt },
    },
  );
  await wake(tx, CONNECTION, id);
  return { ...connection, password };
}

/** Wants one connection of the tenant closed before its time, or all. Those that are closed stay so. */
export async function disconnect(
  tx: Transaction,
  slugOrId: string,
  { id }: Disconnect,
  asker: Asker,
): Promise<void> {
  const tenant = await tenantToChange(tx, slugOrId, asker);
  if (id !== undefined && (await findConnection(tx, tenant.id, id)) === undefined) {
    throw connectionNotFound(id);
  }
  const closing = await askToClose(tx, tenant.id, id, asker.caller.name);
  if (closing.length === 0) return;
  auditAsked(tx, asker, {
    action: 'tenant.disconnect',
    resource: `tenant:${tenant.slug}`,
    region: tenant.region,
    after: { connections: closing },
  });
  for (const one of closing) await wake(tx, CONNECTION, one);
}
