import { FleetError, isUnreachable } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import { SYSTEM_CALLER } from '../access/caller.ts';
import { audit } from '../audit/audit.ts';
import type { Driver } from '../operations/driver.ts';
import type { Lease } from '../operations/lease.ts';
import type { Registry, Transaction } from '../registry/registry.ts';
import type { ServerAccess } from '../servers/access.ts';
import { endOf, SESSIONS_MAX, transitionConnection, type ConnectionEvent } from './connection.ts';
import { dropReader, makeReader } from './reader.ts';
import {
  lockConnection,
  lookAgain,
  moveConnection,
  OPEN_CONNECTIONS_SQL,
  type CarriedConnection,
} from './store.ts';

export interface ConnectionDeps {
  registry: Registry;
  servers: ServerAccess;
  logger: Logger;
}

/** Kind of the resource. */
export const CONNECTION = 'connection';

/** 15 s: a server that is away takes seconds to minutes to come back, and each look costs a connection time-out. */
const UNREACHABLE_MS = 15_000;
/** 1 s: a migration of one database takes no longer, mostly. */
const BUSY_MS = 1_000;

/**
 * Makes the logins that people have asked for, and ends them when their time is over, when somebody wants it, or when
 * the tenant is active no more. The sweeper finds what there is to do; wherever it is cut, the row says what the
 * server may have.
 */
export function createConnectionDriver(deps: ConnectionDeps): Driver {
  return {
    kind: CONNECTION,
    openIdsSql: OPEN_CONNECTIONS_SQL,
    drive: (id, lease) => carry(deps, id, lease),
  };
}

async function carry(deps: ConnectionDeps, id: string, lease: Lease): Promise<void> {
  try {
    await lease.transaction(async (tx) => {
      const connection = await lockConnection(tx, id);
      if (connection === undefined) return;
      lease.signal.throwIfAborted();
      const because = endOf(connection);
      if (because !== undefined) await close(deps, tx, connection, because);
      else if (connection.state === 'opening') await open(deps, tx, connection);
    });
  } catch (error) {
    const isBusy = error instanceof FleetError && error.code === 'migration_locked';
    if (!isBusy && !isUnreachable(error)) throw error;
    deps.logger.warn('a connection waits for its server', { connection: id, error });
    await lease.transaction((tx) => lookAgain(tx, id, isBusy ? BUSY_MS : UNREACHABLE_MS));
  }
}

async function open(deps: ConnectionDeps, tx: Transaction, connection: CarriedConnection): Promise<void> {
  const { id, databaseId, serverId, login, verifier, expiresAt } = connection;
  if (verifier === null) throw new Error(`connection ${id} has no verifier`);
  await makeReader(
    deps.servers,
    { serverId, databaseId },
    { login, verifier, expiresAt, sessions: SESSIONS_MAX },
  );
  await move(tx, connection, 'opened', null);
}

async function close(
  deps: ConnectionDeps,
  tx: Transaction,
  connection: CarriedConnection,
  because: string,
): Promise<void> {
  const { databaseId, serverId, login, serverRetired, tenant, region } = connection;
  if (!serverRetired) await dropReader(deps.servers, { serverId, databaseId }, login);
  await move(tx, connection, 'close', because);
  audit(tx, {
    actor: SYSTEM_CALLER.name,
    actorRole: SYSTEM_CALLER.role,
    action: 'tenant.connection_closed',
    resource: `tenant:${tenant}`,
    region,
    after: { connection: connection.id, login, openedBy: connection.openedBy },
    reason: because,
  });
  deps.logger.info('a connection is closed', { tenant, login, because });
}

async function move(
  tx: Transaction,
  { id, state }: CarriedConnection,
  event: ConnectionEvent,
  because: string | null,
): Promise<void> {
  const next = transitionConnection(state, event);
  if (next === undefined) throw new Error(`connection ${id} is ${state}: it cannot be ${event}`);
  await moveConnection(tx, id, next, because);
}
