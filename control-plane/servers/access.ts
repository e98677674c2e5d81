import { FleetError } from '../../platform/errors.ts';
import { scramVerifier } from '../../platform/crypto.ts';
import type { Logger } from '../../platform/logging.ts';
import {
  clientConfig,
  createPool,
  withNewPassword,
  type PgAddress,
  type PgPool,
  type PgPoolClient,
} from '../../platform/pg.ts';
import type { Registry } from '../registry/registry.ts';
import type { Secrets } from '../secrets/secret.ts';
import { migratorOf } from './migrator.ts';
import { newestVersion, passwordBeside } from './passwords.ts';
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
  /**
   * Lets `make` make such logins, with the SCRAM verifier of their password. It is called again when that was rotated
   * meanwhile: a login with a password that nobody knows any more would be of no use.
   */
  makeMigrators<T>(serverId: string, make: (verifier: string) => Promise<T>): Promise<T>;
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
  place: Omit<PgAddress, 'password'>;
  /** As they are believed to be. A rotation that is under way may have changed them already. */
  passwords: Record<Login, string>;
  readAt: number;
  pool: PgPool;
}

/** The credentials of a server: its admin's, and the one of its migrators. */
type Login = 'admin' | 'migrators';

const SUBJECTS = { admin: serverSubject, migrators: migratorSubject };

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
  /** What the server does not refuse is believed from then on. */
  const renew =
    (serverId: string, login: Login) =>
    async (refused: readonly string[]): Promise<string | undefined> => {
      await distrust(serverId);
      const entry = await entryOf(serverId);
      const password = await passwordBeside(deps, SUBJECTS[login](serverId), refused);
      if (password !== undefined) entry.passwords[login] = password;
      return password;
    };
  const addressOf = async (serverId: string, login: Login): Promise<PgAddress> => {
    const { place, passwords } = await entryOf(serverId);
    return { ...place, password: passwords[login], renew: renew(serverId, login) };
  };

  return {
    admin: async (serverId, work) => {
      const address = await addressOf(serverId, 'admin');
      const client = await withNewPassword(address, () => connect(entryOf, distrust, serverId));
      let failed = true;
      try {
        const result = await work(client);
        failed = false;
        return result;
      } finally {
        client.release(failed);
      }
    },
    address: async (serverId, database) => ({ ...(await addressOf(serverId, 'admin')), database }),
    migrator: async (serverId, { database, ownerRole }) => ({
      ...(await addressOf(serverId, 'migrators')),
      ...{ user: migratorOf(ownerRole), database },
    }),
    makeMigrators: (serverId, make) => makeMigrators(deps, migratorSubject(serverId), make),
    close: async () => {
      closed = true;
      const open = await Promise.allSettled(entries.values());
      entries.clear();
      const pools = open.flatMap((entry) => (entry.status === 'fulfilled' ? [entry.value.pool] : []));
      await Promise.all(pools.map((pool) => pool.end()));
    },
  };
}

async function makeMigrators<T>(
  deps: ServerAccessDeps,
  subject: string,
  make: (verifier: string) => Promise<T>,
): Promise<T> {
  for (;;) {
    const version = await newestVersion(deps, subject);
    const made = await make(scramVerifier(await deps.secrets.password(deps.registry, version)));
    if ((await newestVersion(deps, subject)) === version) return made;
  }
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
  const { place, passwords, key } = await read;
  const readAt = Date.now();
  if (known?.key === key) {
    known.readAt = readAt;
    return known;
  }
  closeOld();
  const config = clientConfig(
    { ...place, password: passwords.admin },
    {
      applicationName: 'fleet-admin',
      settings: { search_path: 'pg_catalog', TimeZone: 'UTC', statement_timeout: STATEMENT_TIMEOUT },
    },
  );
  const password = (): string => passwords.admin;
  const options = { ...config, password, max: POOL_MAX, idleTimeoutMillis: IDLE_MS };
  const pool = createPool(options, (error) => {
    deps.logger.warn('an admin connection was lost', { server: serverId, error });
  });
  return { key, place, passwords, readAt, pool };
}

async function readAddress(
  deps: ServerAccessDeps,
  serverId: string,
): Promise<Pick<Entry, 'place' | 'passwords' | 'key'>> {
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
  const { host, port, tls, adminDatabase: database, endpointEpoch } = server;
  const versions = [credential.versionId, migrator.versionId];
  return {
    place: { host, port, tls, database, user: credential.login },
    passwords: { admin: credential.password, migrators: migrator.password },
    key: [endpointEpoch, host, port, ...versions].join(' '),
  };
}
