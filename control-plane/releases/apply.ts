import type { PgAddress, PgClient } from '../../platform/pg.ts';
import { applyBackfill } from './backfill.ts';
import type { BackfillControl } from './backfill-run.ts';
import { applyInTransaction } from './apply-step.ts';
import type { DatabaseState } from './bookkeeping.ts';
import type { FindBlockers, Waiting } from './contention.ts';
import { applyDirectly } from './direct.ts';
import { proveSchema, type SchemaGuard } from './guard.ts';
import { takeLock, type LockRequest } from './lock.ts';
import { missingMigrations, type Migration } from './release.ts';
import { finishRevert } from './revert-step.ts';
import { withMigrationSession } from './session.ts';
import { advanceStamp, type SchemaStamp } from './stamp.ts';
import { totals, type MigrationRun, type MigrationStatistics } from './statistics.ts';
import { applyStepwise } from './stepwise.ts';

export interface ApplyRequest extends LockRequest {
  /** Role that owns the tenant's objects; the migrations run as it. */
  ownerRole: string;
  /** The complete list up to the wanted head. */
  migrations: Migration[];
  /**
   * Name of the last migration that the registry knows of in the database, null for none: where that is so, one round
   * trip does. Absent: the database is asked first.
   */
  believed?: string | null | undefined;
  /** Looks at the schema before it is changed; absent: it is taken as it is. */
  guard?: SchemaGuard | undefined;
  /** Name of the release, for the record. */
  release: string;
  /** Cuts the connection when it fires; the outcome of what was under way is then unknown. */
  signal?: AbortSignal | undefined;
  /** Asked while a migration waits for a lock; without it the failure names nobody. */
  findBlockers?: FindBlockers | undefined;
  /** Told after each migration: what is through when a later one fails. */
  onApplied?: ((step: MigrationStatistics) => void) | undefined;
  /** What holds, stops and watches backfills; absent: they run through. */
  backfill?: BackfillControl | undefined;
}

export interface ApplyResult {
  /** Names of the migrations applied now. */
  applied: string[];
  /** Name of the last migration that the database has; null for none. */
  schemaVersion: string | null;
  /** Of the schema as it is now, where that is known to be what the migrations make (or accepted); null: unknown. */
  stamp: SchemaStamp | null;
  durationMs: number;
  /** Over all migrations; what it counts is said at MigrationStatistics. */
  lockWaitMs: number;
  rows: number;
  steps: MigrationStatistics[];
}

/**
 * Brings one database to the head of `request.migrations`. Each migration is applied once, whole, and
 * recorded with it; interrupted anywhere, the next call finds in the database where to go on.
 * @param address of a login that may act as the owner and write schema `fleet`: the server's migrator
 * @throws FleetError `migration_failed` (retryable for lock waits), `migration_edited`,
 *   `migration_out_of_order`, `migration_unknown` (retryable: connection lost in the middle),
 *   `migration_locked` (retryable: another session migrates), `migration_fenced` (a newer owner was here),
 *   `migration_record_missing`; those of applyBackfill and of the guard; errors of connecting as the driver gives
 *   them.
 */
export async function applyMigrations(address: PgAddress, request: ApplyRequest): Promise<ApplyResult> {
  const started = performance.now();
  return withMigrationSession(address, request, async (client) => {
    const waiting = { pid: processId(client), findBlockers: request.findBlockers, signal: request.signal };
    const steps: MigrationStatistics[] = [];
    const done = (step: MigrationStatistics): void => {
      steps.push(step);
      request.onApplied?.(step);
    };
    const counted = request.guard !== undefined;
    const begun = await begin(client, { ...request, waiting, counted }, done);
    const { state } = begun;
    let { stamp } = begun;
    const missing = missingMigrations(state.applied, request.migrations);
    for (const migration of missing) {
      request.signal?.throwIfAborted();
      const ran = await applyOne(client, migration, state, { ...request, waiting, counted });
      stamp = advanceStamp(stamp, migration.name, ran.changes);
      done(ran.step);
    }
    return {
      applied: steps.map(({ name }) => name),
      schemaVersion: (missing.at(-1) ?? state.applied.at(-1))?.name ?? null,
      stamp,
      durationMs: Math.round(performance.now() - started),
      ...totals(steps),
      steps,
    };
  });
}

type Session = ApplyRequest & { waiting: Waiting; counted: boolean };

/** Brings the session to where the migration lock is held, what is applied is known and the schema is proven. */
async function begin(
  client: PgClient,
  request: Session,
  done: (step: MigrationStatistics) => void,
): Promise<{ state: DatabaseState; stamp: SchemaStamp | null }> {
  const { guard, believed } = request;
  const isProven = guard === undefined || guard.stamp?.version === believed;
  if (believed !== undefined && isProven && request.endOlderSessions !== true) {
    const stamp = guard?.stamp ?? undefined;
    const direct = await applyDirectly(client, request.migrations, believed, stamp, request);
    if (direct !== undefined) {
      const { state, ran } = direct;
      done(ran.step);
      return { state, stamp: advanceStamp(stamp ?? null, ran.step.name, ran.changes) };
    }
  }
  const found = await takeLock(client, request);
  // Checked before anything is changed, the completion of an interrupted undo too.
  const lacks = missingMigrations(found.applied, request.migrations).length > 0;
  const stamp = lacks ? await proveSchema(client, found, guard) : (guard?.stamp ?? null);
  return { stamp, state: await finishRevert(client, found, request) };
}

/** What became of the one migration is in its error, or in the answer. */
async function applyOne(
  client: PgClient,
  migration: Migration,
  state: DatabaseState,
  request: Session,
): Promise<MigrationRun> {
  if (migration.transactional) return applyInTransaction(client, migration, request);
  if (migration.backfill !== undefined) {
    // It changes rows. If it did more, the stamp would differ from what the server counts: that is the safe side.
    const control = request.backfill ?? {};
    return { step: await applyBackfill(client, migration, { ...request, control }), changes: 0 };
  }
  return { step: await applyStepwise(client, migration, { ...request, state }), changes: null };
}

/** The session's process id on the server, which the driver knows but its types do not. */
export function processId(client: PgClient): number | undefined {
  return 'processID' in client && typeof client.processID === 'number' ? client.processID : undefined;
}
