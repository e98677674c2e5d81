import { setTimeout as delay } from 'node:timers/promises';
import { FleetError, sqlState } from '../../platform/errors.ts';
import type { PgAddress, PgClient } from '../../platform/pg.ts';
import { applySql, endOlderSessionsSql, lockAndRead, type DatabaseState } from './bookkeeping.ts';
import type { FindBlockers, Waiting } from './contention.ts';
import { migrationFailure } from './failure.ts';
import { missingMigrations, type Migration } from './release.ts';
import { withMigrationSession } from './session.ts';
import { applyStepwise } from './stepwise.ts';
import { openingSql, runInTransaction } from './transaction.ts';

export interface ApplyRequest {
  /** Role that owns the tenant's objects; the migrations run as it. */
  ownerRole: string;
  /** The complete list up to the wanted head. */
  migrations: Migration[];
  /** Name of the release, for the record. */
  release: string;
  /** `fleet:<rollout or operation id>:<epoch>`. */
  applicationName: string;
  /** Ends the sessions of smaller epochs of the same id first. */
  endOlderSessions?: boolean | undefined;
  /** Cuts the connection when it fires; the outcome of what was under way is then unknown. */
  signal?: AbortSignal | undefined;
  /** Asked while a migration waits for a lock; without it the failure names nobody. */
  findBlockers?: FindBlockers | undefined;
}

export interface ApplyResult {
  /** Names of the migrations applied now. */
  applied: string[];
  /** Name of the last migration that the database has; null for none. */
  schemaVersion: string | null;
  durationMs: number;
}

/**
 * Brings one database to the head of `request.migrations`. Each migration is applied once, whole, and
 * recorded with it; interrupted anywhere, the next call finds in the database where to go on.
 * @param address of a login that may act as the owner and write schema `fleet`: the server's migrator
 * @throws FleetError `migration_failed` (retryable for lock waits), `migration_edited`,
 *   `migration_out_of_order`, `migration_unknown` (retryable: connection lost in the middle),
 *   `migration_locked` (retryable: another session migrates), `migration_record_missing`; errors of connecting
 *   as the driver gives them.
 */
export async function applyMigrations(address: PgAddress, request: ApplyRequest): Promise<ApplyResult> {
  const started = performance.now();
  return withMigrationSession(address, request, async (client) => {
    const state = await takeLock(client, request);
    const missing = missingMigrations(state.applied, request.migrations);
    const waiting = { pid: processId(client), findBlockers: request.findBlockers, signal: request.signal };
    for (const migration of missing) {
      request.signal?.throwIfAborted();
      if (migration.transactional) await applyInTransaction(client, migration, request, waiting);
      else await applyStepwise(client, migration, { ...request, waiting });
    }
    return {
      applied: missing.map(({ name }) => name),
      schemaVersion: (missing.at(-1) ?? state.applied.at(-1))?.name ?? null,
      durationMs: Math.round(performance.now() - started),
    };
  });
}

/** A held lock mostly belongs to a session that is just leaving; 20 × 100 ms outlasts it. */
const LOCK_TRIES = 20;
const LOCK_PAUSE_MS = 100;

const UNDEFINED_TABLE = '42P01';

/**
 * Takes the migration lock and reads the state under it. Asks instead of waiting in the server: a session
 * that waits for the lock in a transaction deadlocks with the holder's CREATE INDEX CONCURRENTLY.
 */
async function takeLock(client: PgClient, request: ApplyRequest): Promise<DatabaseState> {
  const before = request.endOlderSessions === true ? endOlderSessionsSql(request.applicationName) : '';
  for (let attempt = 1; attempt <= LOCK_TRIES; attempt += 1) {
    if (attempt > 1) await delay(LOCK_PAUSE_MS);
    request.signal?.throwIfAborted();
    const state = await tryLock(client, before);
    if (state.locked) return state;
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
    if (sqlState(error) !== UNDEFINED_TABLE) throw error;
    throw new FleetError({
      code: 'migration_record_missing',
      status: 409,
      message: 'the database has lost its record of migrations (public.pgmigrations or schema fleet)',
      fix: 'restore the database: without the record nobody can tell what is applied',
      cause: error,
    });
  }
}

/** Role, settings, the migration's SQL, both records and COMMIT in one message: one round trip. */
async function applyInTransaction(
  client: PgClient,
  migration: Migration,
  request: ApplyRequest,
  waiting: Waiting,
): Promise<void> {
  const opening = openingSql(migration, request.ownerRole);
  const script = opening + applySql(migration, request, ELAPSED_MS, migration.upSql);
  try {
    await runInTransaction(client, migration, script, waiting);
  } catch (error) {
    throw migrationFailure(error, migration, opening.length);
  }
}

/** The session's process id on the server, which the driver knows but its types do not. */
function processId(client: PgClient): number | undefined {
  return 'processID' in client && typeof client.processID === 'number' ? client.processID : undefined;
}

/** Since the transaction began. */
const ELAPSED_MS = '(extract(epoch FROM clock_timestamp() - now()) * 1000)::int';
