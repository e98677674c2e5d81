import type { PgAddress, PgClient } from '../../platform/pg.ts';
import { applyBackfill } from './backfill.ts';
import type { BackfillControl } from './backfill-run.ts';
import { applySql, type DatabaseState } from './bookkeeping.ts';
import type { FindBlockers, Waiting } from './contention.ts';
import { migrationFailure } from './failure.ts';
import { takeLock, type LockRequest } from './lock.ts';
import { missingMigrations, type Migration } from './release.ts';
import { finishRevert } from './revert-step.ts';
import { withMigrationSession } from './session.ts';
import { changedRows, totals, type MigrationStatistics } from './statistics.ts';
import { applyStepwise } from './stepwise.ts';
import { OPENING_STATEMENTS, openingSql, runInTransaction } from './transaction.ts';

export interface ApplyRequest extends LockRequest {
  /** Role that owns the tenant's objects; the migrations run as it. */
  ownerRole: string;
  /** The complete list up to the wanted head. */
  migrations: Migration[];
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
 *   `migration_record_missing`; those of applyBackfill; errors of connecting as the driver gives them.
 */
export async function applyMigrations(address: PgAddress, request: ApplyRequest): Promise<ApplyResult> {
  const started = performance.now();
  return withMigrationSession(address, request, async (client) => {
    const waiting = { pid: processId(client), findBlockers: request.findBlockers, signal: request.signal };
    const found = await takeLock(client, request);
    // Checked before anything is changed, the completion of an interrupted undo too.
    missingMigrations(found.applied, request.migrations);
    const state = await finishRevert(client, found, { ...request, waiting });
    const missing = missingMigrations(state.applied, request.migrations);
    const steps: MigrationStatistics[] = [];
    for (const migration of missing) {
      request.signal?.throwIfAborted();
      const step = await applyOne(client, migration, state, { ...request, waiting });
      steps.push(step);
      request.onApplied?.(step);
    }
    return {
      applied: missing.map(({ name }) => name),
      schemaVersion: (missing.at(-1) ?? state.applied.at(-1))?.name ?? null,
      durationMs: Math.round(performance.now() - started),
      ...totals(steps),
      steps,
    };
  });
}

/** What became of the one migration is in its error, or in the answer. */
async function applyOne(
  client: PgClient,
  migration: Migration,
  state: DatabaseState,
  request: ApplyRequest & { waiting: Waiting },
): Promise<MigrationStatistics> {
  if (migration.transactional) return applyInTransaction(client, migration, request);
  if (migration.backfill !== undefined) {
    return applyBackfill(client, migration, { ...request, control: request.backfill ?? {} });
  }
  return applyStepwise(client, migration, { ...request, state });
}

/** Role, settings, the migration's SQL, both records and COMMIT in one message: one round trip. */
async function applyInTransaction(
  client: PgClient,
  migration: Migration,
  request: ApplyRequest & { waiting: Waiting },
): Promise<MigrationStatistics> {
  const startedAt = performance.now();
  const opening = openingSql(migration, request.ownerRole);
  const script = opening + applySql(migration, request, ELAPSED_MS, migration.upSql);
  try {
    const { results, lockWaitMs } = await runInTransaction(client, migration, script, request.waiting);
    const rows = changedRows(results.slice(OPENING_STATEMENTS, -RECORDING_STATEMENTS));
    const durationMs = Math.round(performance.now() - startedAt);
    return { name: migration.name, durationMs, lockWaitMs, rows };
  } catch (error) {
    throw migrationFailure(error, migration, opening.length);
  }
}

/** Statements of `applySql` behind the migration's own, with COMMIT. */
const RECORDING_STATEMENTS = 5;

/** The session's process id on the server, which the driver knows but its types do not. */
export function processId(client: PgClient): number | undefined {
  return 'processID' in client && typeof client.processID === 'number' ? client.processID : undefined;
}

/** Since the transaction began. */
const ELAPSED_MS = '(extract(epoch FROM clock_timestamp() - now()) * 1000)::int';
