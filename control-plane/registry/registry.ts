import pg from 'pg';
import { runner as migrateUp } from 'node-pg-migrate';
import { join } from 'node:path';
import { FleetError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import {
  asConnectionError,
  clientConfig,
  createPool,
  parseAddress,
  type PgPool,
  type Queryable,
} from '../../platform/pg.ts';
import { projectRoot } from '../../platform/project.ts';
import { ADVISORY_LOCKS } from './locks.ts';

/** The registry's database: the only truth about the fleet. */
export interface Registry extends Queryable {
  /**
   * Runs `work` in one transaction (READ COMMITTED). Callbacks given to `tx.beforeCommit` run last, in order:
   * the place for writes that serialize the whole fleet (the audit chain), so that they are held for a
   * moment only and always taken after every row lock.
   */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** Calls `onNotify` for each notification on `channel`, and once after every (re)connect. */
  listen(channel: string, onNotify: (payload: string) => void): Promise<Subscription>;
  pool: PgPool;
  url: string;
  close(): Promise<void>;
}

export interface Transaction extends Queryable {
  beforeCommit(work: (tx: Transaction) => Promise<void>): void;
}

export interface Subscription {
  close(): Promise<void>;
}

/** Four connections would starve 16 concurrent API calls; 20 is far below PostgreSQL's default of 100. */
const POOL_MAX = 20;
/** A registry that answers nothing for 10 s is down; requests then fail with 503 instead of piling up. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Time between attempts to get a lost LISTEN connection back. */
const LISTEN_RETRY_MS = 500;

/** Opens the pool. Connects lazily: a registry that is down is reported by the first query. */
export function openRegistry(url: string, logger: Logger, applicationName = 'fleet-control'): Registry {
  const config = clientConfig(parseRegistryUrl(url), {
    applicationName,
    settings: { search_path: 'public', TimeZone: 'UTC', statement_timeout: '30s' },
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
  });
  const pool = createPool({ ...config, max: POOL_MAX }, (error) => {
    logger.warn('a registry connection was lost', { error });
  });
  return {
    pool,
    url,
    query: (text, values) => pool.query<never>(text, values).catch(rethrow),
    transaction: (work) => runTransaction(pool, work),
    listen: (channel, onNotify) => listen(config, channel, onNotify, logger),
    close: () => pool.end(),
  };
}

function parseRegistryUrl(url: string) {
  try {
    return parseAddress(url);
  } catch (cause) {
    throw new FleetError({
      code: 'bad_registry_url',
      status: 400,
      message: 'FLEET_REGISTRY_URL is not a PostgreSQL URL',
      fix: 'use postgres://user:password@host:port/fleet_registry',
      cause,
    });
  }
}

async function runTransaction<T>(pool: PgPool, work: (tx: Transaction) => Promise<T>): Promise<T> {
  const client = await pool.connect().catch(rethrow);
  const last: ((tx: Transaction) => Promise<void>)[] = [];
  const tx: Transaction = {
    query: (text, values) => client.query<never>(text, values).catch(rethrow),
    beforeCommit: (callback) => {
      last.push(callback);
    },
  };
  let broken = false;
  try {
    await tx.query('BEGIN');
    const result = await work(tx);
    for (const callback of last) await callback(tx);
    const { command } = await tx.query('COMMIT');
    // Somebody caught the error of a statement: PostgreSQL answers such a COMMIT with a silent ROLLBACK.
    if (command !== 'COMMIT') throw new Error('the transaction was rolled back because a statement failed');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {
      broken = true;
    });
    throw error;
  } finally {
    client.release(broken);
  }
}

function rethrow(error: unknown): never {
  throw asConnectionError(error);
}

async function listen(
  config: pg.ClientConfig,
  channel: string,
  onNotify: (payload: string) => void,
  logger: Logger,
): Promise<Subscription> {
  let closed = false;
  let client: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;

  const connect = async (): Promise<void> => {
    const next = new pg.Client(config);
    next.on('error', () => undefined);
    next.on('notification', (message) => onNotify(message.payload ?? ''));
    next.on('end', retry);
    await next.connect().catch(rethrow);
    await next.query(`LISTEN ${pg.escapeIdentifier(channel)}`);
    client = next;
    // Closed while this connection came up: nobody would close it any more.
    if (closed) await next.end();
    else onNotify('');
  };
  const retry = (): void => {
    if (closed || timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      connect().catch((error: unknown) => {
        logger.warn('cannot listen on the registry', { channel, error });
        retry();
      });
    }, LISTEN_RETRY_MS);
  };
  try {
    await connect();
  } catch (error) {
    // The caller gets no subscription that it could close, so nothing may go on in the background.
    closed = true;
    clearTimeout(timer);
    throw error;
  }
  return {
    close: async () => {
      closed = true;
      clearTimeout(timer);
      // A connection that broke meanwhile has nothing left to close.
      await client?.end().catch(() => undefined);
    },
  };
}

/** Brings the registry's schema to this program's version. Safe to run from several processes at once. */
export async function migrateRegistry(registry: Registry): Promise<void> {
  const client = await registry.pool.connect();
  try {
    // Our own lock waits; the runner's only fails, and two control planes may start together.
    await client.query('SELECT pg_advisory_lock($1)', [ADVISORY_LOCKS.registryMigration]);
    await migrateUp({
      dbClient: client,
      dir: join(projectRoot(), 'migrations', 'registry'),
      direction: 'up',
      migrationsTable: 'pgmigrations',
      noLock: true,
      log: () => undefined,
    });
    await client.query('SELECT pg_advisory_unlock($1)', [ADVISORY_LOCKS.registryMigration]);
  } finally {
    // Destroyed, not returned: after an error the session may hold the lock or an open transaction.
    client.release(true);
  }
}
