import type { LRUCache } from 'lru-cache';
import type { Socket } from 'node:net';
import type { LocalRoute, RouteCredential } from '../../contract/route.ts';
import type { Logger } from '../../platform/logging.ts';
import type { PgClient } from '../../platform/pg.ts';
import type { Budget } from './budget.ts';
import type { Credentials } from './credentials.ts';
import type { Deadlines, Timed } from './deadlines.ts';
import type { Breaker } from './gate.ts';

/** An open connection that has proven to be of its tenant. */
export interface Connection {
  client: PgClient;
  /** Beneath the client, to cut a connection whose server has gone silent. */
  socket: Socket;
  entry: Entry;
  /** When it was last given back, by `performance.now()`. */
  idleSince: number;
  isClosing: boolean;
  /** Whom it is closed to make room for. */
  evictedFor: Entry | undefined;
  /** The socket is closed. */
  isGone: boolean;
}

/** A request that waits for a connection. */
export interface Waiter extends Timed {
  entry: Entry;
  since: number;
  resolve: (connection: Connection) => void;
  reject: (error: unknown) => void;
}

/** The pool of one tenant, database, credential version and endpoint. */
export interface Entry {
  key: string;
  route: LocalRoute;
  breaker: Breaker;
  max: number;
  serverLimit: number;
  /** Absent until the control plane has told it. */
  credential: RouteCredential | undefined;
  /** The last one that the server did not accept. */
  refused: RouteCredential | undefined;
  /** Last used on top. */
  idle: Connection[];
  /** Connections that are open, being opened, or not yet closed. */
  total: number;
  opening: number;
  queue: Waiter[];
  /** Runs while those who wait have not yet waited long enough for another connection. */
  growTimer: NodeJS.Timeout | undefined;
  /** Until then the server is taken to have no place for another connection; by `performance.now()`. */
  fullUntil: number;
  /** An idle connection of another tenant is being closed for this one. */
  isRoomComing: boolean;
  isRetired: boolean;
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

export interface PoolStats {
  pools: number;
  /** Connections that are open, being opened, or not yet closed. */
  connections: number;
  busy: number;
  waiting: number;
}

/** All that the pools of a process share. */
export interface PoolsState {
  logger: Logger;
  credentials: Credentials;
  limits: PoolLimits;
  budget: Budget;
  lru: LRUCache<string, Entry>;
  waiting: Deadlines<Waiter>;
  /** Entries whose waiters could open a connection if the budget had room. */
  starved: Set<Entry>;
  /** Connections that are being opened. */
  opening: number;
  /** By the key of the pool that will follow: the one that serves its requests until it is proven. */
  standIns: Map<string, Entry>;
  /** Pools out of use that still have connections, with the table's version before they went out of use. */
  leaving: Map<Entry, bigint>;
  /** Told when one of these has closed its last. */
  onLeft: () => void;
  /** Aborted when everything is to be closed. */
  ended: AbortController;
  /** Told when the last connection is gone, after `isClosed`. */
  onEmpty: () => void;
}
