import type { PgAddress, PgClient } from '../../platform/pg.ts';
import { applyBackfill } from './backfill.ts';
import type { BackfillControl } from './backfill-run.ts';
import { applyInTransaction } from './apply-step.ts';
import type { DatabaseState } from './bookkeeping.ts';
import type { FindBlockers, Waiting } from './contention.ts';
import { applyDirectly } from './direct.ts';
import { takeLock, type LockRequest } from './lock.ts';
import { missingMigrations, type Migration } from './release.ts';
import { finishRevert } from './revert-step.ts';
import { withMigrationSession } from './session.ts';
import { totals, type MigrationStatistics } from './statistics.ts';
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
    const steps: MigrationStatistics[] = [];
    const done = (step: MigrationStatistics): void => {
      steps.push(step);
      request.onApplied?.(step);
    };
    const state = await begin(client, { ...request, waiting }, done);
    const missing = missingMigrations(state.applied, request.migrations);
    for (const migration of missing) {
      request.signal?.throwIfAborted();
      done(await applyOne(client, migration, state, { ...request, waiting }));
    }
    return {
      applied: steps.map(({ name }) => name),
      schemaVersion: (missing.at(-1) ?? state.applied.at(-1))?.name ?? null,
      durationMs: Math.round(performance.now() - started),
      ...totals(steps),
      steps,
    };
  });
}

/** Brings the session to where the migration lock is held and what is applied is known. */
async function begin(
  client: PgClient,
  request: ApplyRequest & { waiting: Waiting },
  done: (step: MigrationStatistics) => void,
): Promise<DatabaseState> {
  if (request.believed !== undefined && request.endOlderSessions !== true) {
    const direct = await applyDirectly(client, request.migrations, request.believed, request);
    if (direct !== undefined) {
      done(direct.step);
      return direct.state;
    }
  }
  const found = await takeLock(client, request);
  // Checked before anything is changed, the completion of an interrupted undo too.
  missingMigrations(found.applied, request.migrations);
  return finishRevert(client, found, request);
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

/** The session's process id on the server, which the driver knows but its types do not. */
export function processId(client: PgClient): number | undefined {
  return 'processID' in client && typeof client.processID === 'number' ? client.processID : undefined;
}
