import type pg from 'pg';
import type { LocalRoute } from '../../contract/route.ts';
import { ConnectionLostError, FleetError, sqlState } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { Breaker } from './gate.ts';
import type { Lease } from './pool-state.ts';
import type { Pools } from './pools.ts';

/** A request's tenant: all that a handler needs of the routing. */
export interface TenantHandle extends Queryable {
  id: string;
  slug: string;
  region: string;
  /** Runs one statement on a connection of the tenant's own database. */
  query<R extends pg.QueryResultRow = pg.QueryResultRow>(
    text: string,
    values?: unknown[],
  ): Promise<pg.QueryResult<R>>;
  /** Runs `work` in one transaction; whatever it throws rolls back. */
  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T>;
}

export interface OwnedHandle {
  tenant: TenantHandle;
  /**
   * Ends the handle: connections that still run something are destroyed, queries fail with what `reason` makes
   * (only then: an error with its stack costs as much as a route look-up). `isOverdue`: the request's time is
   * over, which counts against the tenant's database.
   */
  end(reason: () => FleetError, isOverdue: boolean): void;
}

interface State {
  pools: Pools;
  breaker: Breaker;
  route: LocalRoute;
  /** Connections in use by this request. */
  running: Set<Lease>;
  ended: (() => FleetError) | undefined;
}

/** Takes no connection before the first query, and holds none between two. */
export function createTenantHandle(
  deps: { pools: Pools; breaker: Breaker; region: string },
  route: LocalRoute,
): OwnedHandle {
  const state: State = {
    pools: deps.pools,
    breaker: deps.breaker,
    route,
    running: new Set(),
    ended: undefined,
  };
  return {
    tenant: {
      id: route.tenantId,
      slug: route.slug,
      region: deps.region,
      query: (text, values) => runQuery(state, text, values),
      transaction: (work) => runTransaction(state, work),
    },
    end: (reason, isOverdue) => end(state, reason, isOverdue),
  };
}

function end(state: State, reason: () => FleetError, isOverdue: boolean): void {
  if (state.ended !== undefined) return;
  state.ended = reason;
  if (state.running.size === 0) return;
  if (isOverdue) state.breaker.fail(reason());
  for (const lease of state.running) state.pools.release(lease, true);
  state.running.clear();
}

async function acquire(state: State): Promise<Lease> {
  requireOpen(state);
  const lease = await state.breaker.run(() => state.pools.acquire(state.route));
  try {
    requireOpen(state);
  } catch (error) {
    // Nothing was sent on it: it is as clean as it came.
    state.pools.release(lease, false);
    throw error;
  }
  state.running.add(lease);
  return lease;
}

function requireOpen(state: State): void {
  if (state.ended !== undefined) throw state.ended();
}

/** Gives the connection back unless `end` has already destroyed it. */
function giveBack(state: State, lease: Lease, isClean: boolean): void {
  if (!state.running.delete(lease)) return;
  state.pools.release(lease, !(isClean && lease.client.getTransactionStatus() === 'I'));
}

async function runQuery<R extends pg.QueryResultRow>(
  state: State,
  text: string,
  values: unknown[] | undefined,
): Promise<pg.QueryResult<R>> {
  const lease = await acquire(state);
  try {
    const result = await lease.client.query<R>(text, values);
    giveBack(state, lease, true);
    return result;
  } catch (error) {
    giveBack(state, lease, await isUsableAfter(lease, error));
    throw explain(state, error);
  }
}

async function runTransaction<T>(state: State, work: (tx: Queryable) => Promise<T>): Promise<T> {
  const lease = await acquire(state);
  const tx: Queryable = {
    query: async (text, values) => {
      if (!state.running.has(lease)) throw state.ended?.() ?? transactionIsOver();
      try {
        return await lease.client.query(text, values);
      } catch (error) {
        throw explain(state, error);
      }
    },
  };
  try {
    await tx.query('BEGIN');
    const result = await work(tx);
    await tx.query('COMMIT');
    giveBack(state, lease, true);
    return result;
  } catch (error) {
    giveBack(state, lease, await isUsableAfter(lease, error));
    throw error;
  }
}

/** Classes of SQLSTATE after which a session goes on as before: data, constraints, syntax, and our own. */
const HARMLESS_CLASSES = new Set(['21', '22', '23', '25', '40', '42', '44', 'P0']);

/**
 * Brings a session whose statement failed back to its start, and says whether that worked. The driver reports
 * an error before it knows the transaction's state, so only the answer to ROLLBACK tells it.
 */
async function isUsableAfter(lease: Lease, error: unknown): Promise<boolean> {
  const state = sqlState(error);
  const isDatabaseError = state !== undefined && !HARMLESS_CLASSES.has(state.slice(0, 2));
  if (isDatabaseError || error instanceof ConnectionLostError) return false;
  try {
    await lease.client.query('ROLLBACK');
    return true;
  } catch {
    return false;
  }
}

/** The driver tells a lost connection by an Error without a code; what has one, or is a TypeError, stays. */
function explain(state: State, error: unknown): unknown {
  if (state.ended !== undefined) return state.ended();
  if (sqlState(error) !== undefined || error instanceof TypeError || error instanceof RangeError)
    return error;
  const lost = error instanceof ConnectionLostError ? error : new ConnectionLostError(error);
  state.breaker.fail(lost);
  return lost;
}

function transactionIsOver(): FleetError {
  return new FleetError({
    code: 'transaction_over',
    status: 500,
    message: 'a handler used a transaction after its end',
  });
}
