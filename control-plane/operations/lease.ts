import { sqlState } from '../../platform/errors.ts';
import type { Registry, Transaction } from '../registry/registry.ts';

/**
 * The right to act on one resource (`operation:<id>`, `rollout:<id>`), held by one worker for a while.
 *
 *   free ──acquire──▶ held ──renew (every third of its life)──▶ held ──release──▶ free
 *                      │ expires, or the holder's advisory lock is free
 *                      └──────────acquire by another worker, epoch + 1──▶ held
 *
 * The epoch is the safety: every write calls `fence(resource, holder, epoch)`, which locks the lease row and
 * raises FL001 when the lease has gone to another. The advisory lock only makes takeover fast.
 */
export interface Lease {
  resource: string;
  holder: string;
  epoch: number;
  /** Aborted when the lease is lost or the process must stop at once. */
  signal: AbortSignal;
  /** Aborted when the process is asked to stop: finish what is in hand, start nothing new. */
  stopping: AbortSignal;
  /** A registry transaction that starts with the fence. @throws LeaseLostError */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
}

/** Another worker owns the resource now: stop, write nothing, say nothing to the user. */
export class LeaseLostError extends Error {
  constructor(resource: string, cause?: unknown) {
    super(`the lease of ${resource} is lost`, { cause });
    this.name = 'LeaseLostError';
  }
}

/** SQLSTATE that `fence()` raises. */
const FENCED = 'FL001';

/**
 * 15 s of life, renewed every 5 s: two renewals may fail before it runs out. A dead worker is noticed long
 * before through its advisory lock; the time-out is for one that hangs or lost its network.
 */
export const LEASE_LIFE_MS = 15_000;

/** Takes the lease if it is free, over, or held by a worker whose advisory lock is gone. */
export async function acquireLease(
  registry: Registry,
  resource: string,
  holder: string,
): Promise<number | undefined> {
  const { rows } = await registry.query<{ epoch: string }>(
    `INSERT INTO leases AS l (resource, holder, epoch, expires_at)
     VALUES ($1, $2, 1, now() + $3 * interval '1 millisecond')
     ON CONFLICT (resource) DO UPDATE
       SET holder = excluded.holder, epoch = l.epoch + 1, expires_at = excluded.expires_at
       WHERE l.holder IS NULL OR l.expires_at < now() OR NOT worker_is_alive(l.holder)
     RETURNING epoch`,
    [resource, holder, LEASE_LIFE_MS],
  );
  return rows[0] === undefined ? undefined : Number(rows[0].epoch);
}

/** A lease that this process believes to hold. */
export interface HeldLease {
  resource: string;
  epoch: number;
}

/**
 * Prolongs the leases that `holder` knows it holds; answers the resources of those that are still its own.
 * Others in its name are left to lapse: an answer or a release of theirs was lost.
 */
export async function renewLeases(
  registry: Registry,
  holder: string,
  held: HeldLease[],
): Promise<Set<string>> {
  const { rows } = await registry.query<{ resource: string }>(
    `UPDATE leases l SET expires_at = now() + $4 * interval '1 millisecond'
       FROM unnest($2::text[], $3::bigint[]) AS held (resource, epoch)
      WHERE l.holder = $1 AND l.resource = held.resource AND l.epoch = held.epoch RETURNING l.resource`,
    [holder, held.map((lease) => lease.resource), held.map((lease) => lease.epoch), LEASE_LIFE_MS],
  );
  return new Set(rows.map((row) => row.resource));
}

/**
 * Frees the leases in the worker's name that it knows nothing of. It is asked about each after the look, not before: one
 * that it has taken meanwhile is its own, and one that it takes from here on has another epoch.
 */
export async function releaseStrays(
  registry: Registry,
  holder: string,
  isKnown: (resource: string) => boolean,
): Promise<void> {
  const { rows } = await registry.query<{ resource: string; epoch: number }>(
    'SELECT resource, epoch::float8 AS epoch FROM leases WHERE holder = $1',
    [holder],
  );
  for (const { resource, epoch } of rows) {
    if (!isKnown(resource)) await releaseLease(registry, resource, holder, epoch);
  }
}

/** Gives the lease back; the epoch stays, so that the next holder's is higher. */
export async function releaseLease(
  registry: Registry,
  resource: string,
  holder: string,
  epoch: number,
): Promise<void> {
  await registry.query(
    'UPDATE leases SET holder = NULL, expires_at = NULL WHERE resource = $1 AND holder = $2 AND epoch = $3',
    [resource, holder, epoch],
  );
}

/** Runs `work` behind the fence. */
export async function fencedTransaction<T>(
  registry: Registry,
  lease: Pick<Lease, 'resource' | 'holder' | 'epoch'>,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  return fencedStatement(lease, () =>
    registry.transaction(async (tx) => {
      await tx.query('SELECT fence($1, $2, $3)', [lease.resource, lease.holder, lease.epoch]);
      return work(tx);
    }),
  );
}

/** Runs a statement that calls `fence` itself: a whole fenced write in one round trip. @throws LeaseLostError */
export async function fencedStatement<T>(lease: Pick<Lease, 'resource'>, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (sqlState(error) === FENCED) throw new LeaseLostError(lease.resource, error);
    throw error;
  }
}
