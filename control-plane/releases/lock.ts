import { setTimeout as delay } from 'node:timers/promises';
import { FleetError, sqlState, SQLSTATE } from '../../platform/errors.ts';
import type { PgClient } from '../../platform/pg.ts';
import { endOlderSessionsSql, lockAndRead, sessionOwner, type DatabaseState } from './bookkeeping.ts';

export interface LockRequest {
  /** `fleet:<rollout or operation id>:<epoch>`. */
  applicationName: string;
  /** Ends the sessions of smaller epochs of the same id first. */
  endOlderSessions?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/** A held lock mostly belongs to a session that is just leaving; 20 × 100 ms outlasts it. */
const LOCK_TRIES = 20;
const LOCK_PAUSE_MS = 100;

/**
 * Takes the migration lock and reads the state under it. Asks instead of waiting in the server: a session
 * that waits for the lock in a transaction deadlocks with the holder's CREATE INDEX CONCURRENTLY.
 * @throws FleetError `migration_locked` (retryable), `migration_fenced`, `migration_record_missing`
 */
export async function takeLock(client: PgClient, request: LockRequest): Promise<DatabaseState> {
  const before = request.endOlderSessions === true ? endOlderSessionsSql(request.applicationName) : '';
  for (let attempt = 1; attempt <= LOCK_TRIES; attempt += 1) {
    if (attempt > 1) await delay(LOCK_PAUSE_MS);
    request.signal?.throwIfAborted();
    const state = await tryLock(client, before);
    if (state.locked) return refuseOlder(state, request.applicationName);
  }
  throw new FleetError({
    code: 'migration_locked',
    status: 409,
    message: 'another session is migrating this database',
    retryable: true,
    fix: 'wait for it to end; `pg_locks` of the database shows which session holds the advisory lock',
  });
}

async function tryLock(client: PgClient, before: string): Promise<DatabaseState> {
  try {
    return await lockAndRead(client, before);
  } catch (error) {
    if (sqlState(error) !== SQLSTATE.undefinedTable) throw error;
    throw new FleetError({
      code: 'migration_record_missing',
      status: 409,
      message: 'the database has lost its record of migrations (public.pgmigrations or schema fleet)',
      fix: 'restore the database: without the record nobody can tell what is applied',
      cause: error,
    });
  }
}

/** A worker that slept past its lease may come only now: its successor has been here, and has decided. */
function refuseOlder(state: DatabaseState, applicationName: string): DatabaseState {
  const owner = sessionOwner(applicationName);
  const fence = owner === undefined ? undefined : state.fences.get(owner.id);
  if (owner === undefined || fence === undefined || fence <= owner.epoch) return state;
  throw new FleetError({
    code: 'migration_fenced',
    status: 409,
    message: `a newer owner (epoch ${fence}) has taken this database over from epoch ${owner.epoch}`,
    fix: 'nothing: the newer owner goes on',
  });
}
