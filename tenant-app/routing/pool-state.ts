import type { LRUCache } from 'lru-cache';
import type { LocalRoute, RouteCredential } from '../../contract/route.ts';
import type { Logger } from '../../platform/logging.ts';
import type { PgPool, PgPoolClient } from '../../platform/pg.ts';
import type { Budget } from './budget.ts';
import type { Credentials } from './credentials.ts';

/** A connection that is handed out, and the entry that it belongs to. */
export interface Lease {
  client: PgPoolClient;
  entry: Entry;
}

export interface PoolStats {
  pools: number;
  /** Connections that are open or being opened. */
  connections: number;
  busy: number;
  waiting: number;
}

export interface PoolLimits {
  /** Connections of the process, in all and to one server. */
  connections: number;
  connectionsPerServer: number;
  /** Connections of one tenant. */
  connectionsPerTenant: number;
  /** Milliseconds that a request waits for a connection. */
  waitMs: number;
  statementTimeoutMs: number;
}

/** A request that waits for a connection. */
export interface Waiter {
  since: number;
  timer: NodeJS.Timeout;
  resolve: (lease: Lease) => void;
  reject: (error: unknown) => void;
}

/** A tenant's pool with those who wait for it. */
export interface Entry {
  key: string;
  route: LocalRoute;
  max: number;
  serverLimit: number;
  /** Absent until the credential has come. */
  pool: PgPool | undefined;
  credential: RouteCredential | undefined;
  /** Connections handed out or being opened. */
  busy: number;
  queue: Waiter[];
  isRetired: boolean;
}

/** All that the pools of a process share. */
export interface State {
  logger: Logger;
  credentials: Credentials;
  limits: PoolLimits;
  budget: Budget;
  lru: LRUCache<string, Entry>;
  /** Entries whose waiters could open a connection if the budget had room. */
  starved: Set<Entry>;
  /** Idle connections that are being closed to make room. */
  evicting: number;
  /** Pools that are being ended, for close(). */
  ending: Set<Promise<void>>;
}

/** An idle connection that no earlier caller of this tick has already been promised. */
export function hasIdle(pool: PgPool): boolean {
  return pool.idleCount > pool.waitingCount;
}

/** Takes a connection from the pool; opens one when none is idle. */
export function checkOut(entry: Entry, pool: PgPool): Promise<Lease> {
  entry.busy += 1;
  return new Promise((resolve, reject) => {
    pool.connect((error, client) => {
      if (client !== undefined) return resolve({ client, entry });
      entry.busy -= 1;
      reject(error ?? new Error('the pool returned no connection'));
    });
  });
}
