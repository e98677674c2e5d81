import type pg from 'pg';
import type { LocalRoute } from '../../contract/route.ts';
import { ConnectionLostError, FleetError, sqlState } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { Timed } from './deadlines.ts';
import type { Breaker } from './gate.ts';
import { acquireError } from './acquire-error.ts';
import type { Connection } from './pool-state.ts';
import type { Pools } from './pools.ts';

/** A server that needs longer than 2 s for this is not back yet. */
const PROBE = { text: 'SELECT 1', query_timeout: 2_000 };

/** A request's tenant: all that a handler needs of the routing. */
export interface TenantHandle extends Queryable {
  id: string;
  slug: string;
  region: string;
  /** The client's X-Request-Id when it is well-formed, else a new one. */
  requestId: string;
  /** Runs one statement on a connection of the tenant's own database. */
  query<R extends pg.QueryResultRow = pg.QueryResultRow>(
    text: string,
    values?: unknown[],
  ): Promise<pg.QueryResult<R>>;
  /** Runs `work` in one transaction; whatever it throws rolls back. */
  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T>;
}

/** The handle's other side, for the middleware. Few and flat fields: there is one per request. */
export interface TenantRequest extends Timed {
  tenant: TenantHandle;
  pools: Pools;
  breaker: Breaker;
  route: LocalRoute;
  /** The connection in use, and those beside it when a handler runs several statements at once. */
  running: Connection | undefined;
  others: Set<Connection> | undefined;
  /** Makes the error that queries fail with after the end. */
  ended: (() => FleetError) | undefined;
}

/** Takes no connection before the first query, and holds none between two. */
export function createTenantRequest(
  deps: { pools: Pools; breaker: Breaker; region: string; requestId: string },
  route: LocalRoute,
): TenantRequest {
  const self: TenantRequest = {
    tenant: {
      id: route.tenantId,
      slug: route.slug,
      region: deps.region,
      requestId: deps.requestId,
      query: (text, values) => runQuery(self, text, values),
      transaction: (work) => runTransaction(self, work),
    },
    pools: deps.pools,
    breaker: deps.breaker,
    route,
    running: undefined,
    others: undefined,
    ended: undefined,
    end: 0,
    older: undefined,
    newer: undefined,
  };
  return self;
}

/**
 * Ends a request: connections that still run something are destroyed, queries fail with what `reason` makes
 * (only then: an error with its stack costs as much as a look-up). `isOverdue`: the request's time is over,
 * which counts against the tenant's database.
 */
export function endTenantRequest(self: TenantRequest, reason: () => FleetError, isOverdue: boolean): void {
  if (self.ended !== undefined) return;
  self.ended = reason;
  const running = [...(self.running === undefined ? [] : [self.running]), ...(self.others ?? [])];
  if (running.length === 0) return;
  if (isOverdue) self.breaker.fail(reason());
  self.running = undefined;
  self.others = undefined;
  for (const connection of running) self.pools.release(connection, true);
}

async function acquire(self: TenantRequest): Promise<Connection> {
  requireOpen(self);
  const { pools, route, breaker } = self;
  const idle = pools.take(route, breaker);
  const connection =
    idle === undefined
      ? await pools.acquire(route, breaker)
      : breaker.isClosed()
        ? idle
        : await tryOut(self, idle);
  if (self.ended !== undefined) {
    // Nothing of ours was sent on it: it is as clean as it came.
    pools.release(connection, false);
    throw self.ended();
  }
  if (self.running === undefined) self.running = connection;
  else (self.others ??= new Set()).add(connection);
  return connection;
}

/** After failures an idle connection may be as dead as the others were: one request tries it, the rest fail. */
async function tryOut(self: TenantRequest, connection: Connection): Promise<Connection> {
  let isAlive = false;
  let wasTried = false;
  try {
    await self.breaker.run(async () => {
      wasTried = true;
      await connection.client.query(PROBE);
    });
    isAlive = true;
    return connection;
  } catch (error) {
    throw error instanceof FleetError ? error : acquireError(error);
  } finally {
    if (!isAlive) self.pools.release(connection, wasTried);
  }
}

function requireOpen(self: TenantRequest): void {
  if (self.ended !== undefined) throw self.ended();
}

function isRunning(self: TenantRequest, connection: Connection): boolean {
  return self.running === connection || self.others?.has(connection) === true;
}

/** Gives the connection back unless the end of the request has already destroyed it. */
function giveBack(self: TenantRequest, connection: Connection, isClean: boolean): void {
  if (self.running === connection) self.running = undefined;
  else if (self.others?.delete(connection) !== true) return;
  self.pools.release(connection, !(isClean && connection.client.getTransactionStatus() === 'I'));
}

async function runQuery<R extends pg.QueryResultRow>(
  self: TenantRequest,
  text: string,
  values: unknown[] | undefined,
): Promise<pg.QueryResult<R>> {
  const connection = await acquire(self);
  try {
    const result = await connection.client.query<R>(text, values);
    giveBack(self, connection, !SESSION_COMMANDS.has(result.command));
    return result;
  } catch (error) {
    giveBack(self, connection, await isUsableAfter(connection, error));
    throw explain(self, error);
  }
}

async function runTransaction<T>(self: TenantRequest, work: (tx: Queryable) => Promise<T>): Promise<T> {
  const connection = await acquire(self);
  let isClean = true;
  const tx: Queryable = {
    query: async <R extends pg.QueryResultRow>(text: string, values?: unknown[]) => {
      if (!isRunning(self, connection)) throw self.ended?.() ?? transactionIsOver();
      try {
        const result = await connection.client.query<R>(text, values);
        isClean &&= !SESSION_COMMANDS.has(result.command);
        return result;
      } catch (error) {
        throw explain(self, error);
      }
    },
  };
  try {
    await tx.query('BEGIN');
    const result = await work(tx);
    const { command } = await tx.query('COMMIT');
    // A handler that caught the error of a statement: PostgreSQL answers such a COMMIT with a silent ROLLBACK.
    if (command !== 'COMMIT') throw rolledBack();
    giveBack(self, connection, isClean);
    return result;
  } catch (error) {
    giveBack(self, connection, isClean && (await isUsableAfter(connection, error)));
    throw error;
  }
}

/**
 * Commands that leave something in the session which the tenant's next request would find: such a connection
 * is not used again. What functions leave (`set_config`, session advisory locks) cannot be seen from here.
 */
const SESSION_COMMANDS = new Set([
  'SET',
  'RESET',
  'LISTEN',
  'PREPARE',
  'DECLARE CURSOR',
  'LOAD',
  'DISCARD ALL',
]);

/** Classes of SQLSTATE after which a session goes on as before: data, constraints, syntax, and our own. */
const HARMLESS_CLASSES = new Set(['21', '22', '23', '25', '40', '42', '44', 'P0']);

/**
 * Brings a session whose statement failed back to its start, and says whether that worked. The driver reports
 * an error before it knows the transaction's state, so only the answer to ROLLBACK tells it.
 */
async function isUsableAfter(connection: Connection, error: unknown): Promise<boolean> {
  const state = sqlState(error);
  const isDatabaseError = state !== undefined && !HARMLESS_CLASSES.has(state.slice(0, 2));
  if (isDatabaseError || error instanceof ConnectionLostError) return false;
  try {
    await connection.client.query('ROLLBACK');
    return true;
  } catch {
    return false;
  }
}

/** The driver tells a lost connection by an Error without a code; what has one, or is a TypeError, stays. */
function explain(self: TenantRequest, error: unknown): unknown {
  if (self.ended !== undefined) return self.ended();
  if (sqlState(error) !== undefined || error instanceof TypeError || error instanceof RangeError)
    return error;
  const lost = error instanceof ConnectionLostError ? error : new ConnectionLostError(error);
  self.breaker.fail(lost);
  return lost;
}

function rolledBack(): FleetError {
  return new FleetError({
    code: 'transaction_rolled_back',
    status: 500,
    message: 'a statement of the transaction failed, so nothing of it was stored',
  });
}

function transactionIsOver(): FleetError {
  return new FleetError({
    code: 'transaction_over',
    status: 500,
    message: 'a handler used a transaction after its end',
  });
}
