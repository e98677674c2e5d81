import { FleetError } from '../../platform/errors.ts';
import { scramVerifier } from '../../platform/crypto.ts';
import type { Logger } from '../../platform/logging.ts';
import {
  clientConfig,
  createPool,
  type PgAddress,
  type PgPool,
  type PgPoolClient,
} from '../../platform/pg.ts';
import type { Registry } from '../registry/registry.ts';
import type { Secrets } from '../secrets/secret.ts';
import { migratorOf } from './migrator.ts';
import { migratorSubject, serverNotFound, serverSubject } from './server.ts';
import { findServer } from './store.ts';

/** The ways to the servers: as their admin, and as the logins that migrate. */
export interface ServerAccess {
  /** Lends a connection to the admin database. Returned only after success; destroyed after any error. */
  admin<T>(serverId: string, work: (client: PgPoolClient) => Promise<T>): Promise<T>;
  /** How to reach any database of the server as its admin. Holds the password: for connecting only. */
  address(serverId: string, database: string): Promise<PgAddress>;
  /** The same as the login that may act as this owner of the database, and nothing else. */
  migrator(serverId: string, place: { database: string; ownerRole: string }): Promise<PgAddress>;
  /** SCRAM verifier of the password that these logins have. */
  migratorVerifier(serverId: string): Promise<string>;
  close(): Promise<void>;
}

export interface ServerAccessDeps {
  registry: Registry;
  secrets: Secrets;
  logger: Logger;
}

/** Creating and dropping databases is bound by the server's disk; more at once would only queue there. */
const POOL_MAX = 8;
/** A fleet's quiet servers should not each hold connections. */
const IDLE_MS = 10_000;
/**
 * How long an address is believed without asking the registry again. A moved endpoint or a new admin password
 * is thereby seen after 5 s at the latest; a failed connection asks at once.
 */
const ADDRESS_LIFE_MS = 5_000;
/** CREATE DATABASE … TEMPLATE takes tens of milliseconds, seconds on a busy disk; a minute is a fault. */
const STATEMENT_TIMEOUT = '60s';

interface Entry {
  /** Tells whether the pool still leads to the right place with the right credential. */
  key: string;
  address: PgAddress;
  migratorPassword: string;
  readAt: number;
  pool: PgPool;
}

export function createServerAccess(deps: ServerAccessDeps): ServerAccess {
  const entries = new Map<string, Promise<Entry>>();
  let closed = false;

  const entryOf = async (serverId: string): Promise<Entry> => {
    if (closed) throw new Error('the access to servers is closed');
    const pending = entries.get(serverId);
    const known = await pending;
    if (known !== undefined && Date.now() - known.readAt < ADDRESS_LIFE_MS) return known;
    // Another caller may have begun to refresh while this one waited: one of them asks, all share the answer.
    if (entries.get(serverId) !== pending) return entryOf(serverId);
    const next = refresh(deps, serverId, known);
    entries.set(serverId, next);
    next.catch(() => {
      if (entries.get(serverId) === next) entries.delete(serverId);
    });
    return next;
  };
  const distrust = async (serverId: string): Promise<void> => {
    const entry = await entries.get(serverId);
    if (entry !== undefined) entry.readAt = 0;
  };

  return {
    admin: async (serverId, work) => {
      const client = await connect(entryOf, distrust, serverId);
      let failed = true;
      try {
        const result = await work(client);
        failed = false;
        return result;
      } finally {
        client.release(failed);
      }
    },
    address: async (serverId, database) => ({ ...(await entryOf(serverId)).address, database }),
    migrator: async (serverId, { database, ownerRole }) => {
      const { address, migratorPassword } = await entryOf(serverId);
      return { ...address, user: migratorOf(ownerRole), password: migratorPassword, database };
    },
    migratorVerifier: async (serverId) => scramVerifier((await entryOf(serverId)).migratorPassword),
    close: async () => {
      closed = true;
      const open = await Promise.allSettled(entries.values());
      entries.clear();
      const pools = open.flatMap((entry) => (entry.status === 'fulfilled' ? [entry.value.pool] : []));
      await Promise.all(pools.map((pool) => pool.end()));
    },
  };
}

/** Connecting failed before anything was sent: a second try with a fresh address is safe. */
async function connect(
  entryOf: (serverId: string) => Promise<Entry>,
  distrust: (serverId: string) => Promise<void>,
  serverId: string,
): Promise<PgPoolClient> {
  const first = await entryOf(serverId);
  try {
    return await first.pool.connect();
  } catch (error) {
    await distrust(serverId);
    const second = await entryOf(serverId);
    if (second.key === first.key) throw error;
    return second.pool.connect();
  }
}

async function refresh(deps: ServerAccessDeps, serverId: string, known: Entry | undefined): Promise<Entry> {
  const read = readAddress(deps, serverId);
  // Connections that are lent out end with their work; nothing new comes from the old pool.
  const closeOld = (): void => {
    known?.pool.end().catch((error: unknown) => deps.logger.warn('an admin pool did not close', { error }));
  };
  read.catch(closeOld);
  const { address, migratorPassword, key } = await read;
  const readAt = Date.now();
  if (known?.key === key) {
    known.readAt = readAt;
    return known;
  }
  closeOld();
  const config = clientConfig(address, {
    applicationName: 'fleet-admin',
    settings: { search_path: 'pg_catalog', TimeZone: 'UTC', statement_timeout: STATEMENT_TIMEOUT },
  });
  const pool = createPool({ ...config, max: POOL_MAX, idleTimeoutMillis: IDLE_MS }, (error) => {
    deps.logger.warn('an admin connection was lost', { server: serverId, error });
  });
  return { key, address, migratorPassword, readAt, pool };
}

async function readAddress(
  deps: ServerAccessDeps,
  serverId: string,
): Promise<Pick<Entry, 'address' | 'migratorPassword' | 'key'>> {
  const server = await findServer(deps.registry, serverId);
  if (server === undefined) throw serverNotFound(serverId);
  const [credential, migrator] = await Promise.all([
    deps.secrets.current(deps.registry, serverSubject(server.id)),
    deps.secrets.current(deps.registry, migratorSubject(server.id)),
  ]);
  if (credential === undefined || migrator === undefined) {
    throw new FleetError({
      code: 'server_has_no_admin',
      status: 409,
      message: `server ${server.name} has no admin credential: it is ${server.state}`,
    });
  }
  const address: PgAddress = {
    host: server.host,
    port: server.port,
    database: server.adminDatabase,
    user: credential.login,
    password: credential.password,
    tls: server.tls,
  };
  const versions = [credential.versionId, migrator.versionId];
  return {
    address,
    migratorPassword: migrator.password,
    key: [server.endpointEpoch, server.host, server.port, ...versions].join(' '),
  };
}
