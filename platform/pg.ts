import pg from 'pg';
import { ConnectionLostError, SQLSTATE, sqlState } from './errors.ts';

/** Where and as whom to connect. `password` may be absent for trust-authenticated test set-ups only. */
export interface PgAddress {
  host: string;
  port: number;
  database: string;
  user: string;
  password: string;
  /** `require` verifies nothing, `verify-full` checks chain and host name, `disable` is for loopback. */
  tls: 'disable' | 'require' | 'verify-full';
  /**
   * Of a login that is rotated: asked when the server refuses the password, what else it may be by now; undefined when
   * all that is known was refused.
   */
  renew?: ((refused: readonly string[]) => Promise<string | undefined>) | undefined;
}

export interface SessionOptions {
  applicationName: string;
  /** Server settings sent in the start-up packet: no extra round trip, and no window without them. */
  settings?: Record<string, string>;
  /** Milliseconds until connecting is given up. */
  connectTimeoutMs?: number;
}

/**
 * 5 s: a healthy server answers in 15 ms; a dead host would otherwise hold a worker's slot for the kernel's
 * two minutes.
 */
const CONNECT_TIMEOUT_MS = 5_000;

export type PgClient = pg.Client;
export type PgPool = pg.Pool;
export type PgPoolClient = pg.PoolClient;

/** Anything that runs a query: a pool, a client, or a client inside a transaction. */
export interface Queryable {
  query<R extends pg.QueryResultRow = pg.QueryResultRow>(
    text: string | NamedStatement,
    values?: unknown[],
  ): Promise<pg.QueryResult<R>>;
}

/** Prepared once per connection under its name: for large statements that run all the time. */
export interface NamedStatement {
  name: string;
  text: string;
}

/** The one quoting function for identifiers that stand in SQL text. */
export function quoteIdent(name: string): string {
  return pg.escapeIdentifier(name);
}

/** Quotes a literal for the few utility statements that take no parameters (`ALTER ROLE … PASSWORD`). */
export function quoteLiteral(text: string): string {
  return pg.escapeLiteral(text);
}

/** Maps an address to the driver's configuration. */
export function clientConfig(address: PgAddress, session: SessionOptions): pg.ClientConfig {
  return {
    host: address.host,
    port: address.port,
    database: address.database,
    user: address.user,
    password: address.password,
    ssl: address.tls === 'disable' ? false : { rejectUnauthorized: address.tls === 'verify-full' },
    application_name: session.applicationName,
    connectionTimeoutMillis: session.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    keepAlive: true,
    ...(session.settings === undefined ? {} : { options: startupOptions(session.settings) }),
  };
}

function startupOptions(settings: Record<string, string>): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replaceAll('\\', '\\\\').replaceAll(' ', '\\ ')}`)
    .join(' ');
}

/** Connects, runs `work`, and always closes. The connection is never shared and never re-used. */
export async function withClient<T>(
  address: PgAddress,
  session: SessionOptions,
  work: (client: PgClient) => Promise<T>,
): Promise<T> {
  const { client, lost } = await withNewPassword(address, (password) =>
    open({ ...address, password }, session),
  );
  try {
    return await work(client);
  } catch (error) {
    if (lost() !== undefined && sqlState(error) === undefined) throw new ConnectionLostError(error);
    throw error;
  } finally {
    // Closing a broken connection may fail; there is nothing left to save in it.
    await client.end().catch(() => undefined);
  }
}

interface Opened {
  client: PgClient;
  /** What has broken the connection since. */
  lost: () => Error | undefined;
}

async function open(address: PgAddress, session: SessionOptions): Promise<Opened> {
  const client = new pg.Client(clientConfig(address, session));
  let lost: Error | undefined;
  // Without a listener an error on an idle connection would end the process.
  client.on('error', (error: Error) => {
    lost = error;
  });
  try {
    await client.connect();
  } catch (error) {
    await client.end().catch(() => undefined);
    throw asConnectionError(error);
  }
  return { client, lost: () => lost };
}

/** Connects with the address's password and, where the server refuses it, with those that it may have been changed to. */
export async function withNewPassword<T>(
  { password, renew }: Pick<PgAddress, 'password' | 'renew'>,
  connect: (password: string) => Promise<T>,
): Promise<T> {
  const refused: string[] = [];
  for (let next: string | undefined = password; ;) {
    try {
      return await connect(next);
    } catch (error) {
      if (sqlState(error) !== SQLSTATE.invalidPassword) throw error;
      refused.push(next);
      next = await renew?.(refused);
      if (next === undefined) throw error;
    }
  }
}

/**
 * What connecting or a query threw, made recognisable: the driver reports a connect time-out and a hang-up as
 * plain Errors without any code; both mean "unreachable". A TypeError about a parameter stays what it is.
 */
export function asConnectionError(error: unknown): unknown {
  if (!(error instanceof Error) || error.name !== 'Error') return error;
  return 'code' in error && error.code !== undefined ? error : new ConnectionLostError(error);
}

/** Makes a pool whose idle-client errors are reported instead of ending the process. */
export function createPool(config: pg.PoolConfig, onIdleError: (error: Error) => void): PgPool {
  const pool = new pg.Pool(config);
  pool.on('error', onIdleError);
  // A client that is checked out has only its holder's queries to report an error to; between two of them
  // nobody listens, and Node would end the process.
  pool.on('connect', (client) => client.on('error', onIdleError));
  return pool;
}

/** Reads a connection URL (`postgres://user:password@host:port/database?sslmode=…`). */
export function parseAddress(url: string): PgAddress {
  const parsed = new URL(url);
  if (parsed.protocol !== 'postgres:' && parsed.protocol !== 'postgresql:') {
    throw new TypeError('a PostgreSQL URL begins with postgres://');
  }
  const mode = parsed.searchParams.get('sslmode') ?? 'disable';
  return {
    host: parsed.hostname,
    port: parsed.port === '' ? 5432 : Number(parsed.port),
    database: decodeURIComponent(parsed.pathname.slice(1)) || 'postgres',
    user: decodeURIComponent(parsed.username),
    password: decodeURIComponent(parsed.password),
    tls: mode === 'verify-full' ? 'verify-full' : mode === 'require' ? 'require' : 'disable',
  };
}

/** The inverse of parseAddress. Holds the password: only for 0600 files. */
export function addressUrl(address: PgAddress): string {
  const credentials = `${encodeURIComponent(address.user)}:${encodeURIComponent(address.password)}`;
  const tls = address.tls === 'disable' ? '' : `?sslmode=${address.tls}`;
  return `postgres://${credentials}@${address.host}:${address.port}/${encodeURIComponent(address.database)}${tls}`;
}
