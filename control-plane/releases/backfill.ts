import { FleetError } from '../../platform/errors.ts';
import type { PgClient } from '../../platform/pg.ts';
import { refuseQuarantined, runPass, runQuarantined } from './backfill-chunk.ts';
import { NO_PACE } from './backfill-eta.ts';
import { readKey, type BackfillKey } from './backfill-key.ts';
import {
  BackfillHeldError,
  BackfillStoppedError,
  tell,
  type BackfillControl,
  type BackfillRun,
} from './backfill-run.ts';
import { CHUNK_LIMITS } from './backfill-size.ts';
import { rangedSql } from './backfill-statement.ts';
import { dropBackfillSql, readBackfill, saveBackfillSql, type BackfillState } from './backfill-store.ts';
import { lastKey, verifyBackfill } from './backfill-verify.ts';
import { applySql } from './bookkeeping.ts';
import { migrationFailure } from './failure.ts';
import type { Migration } from './release.ts';
import type { MigrationStatistics } from './statistics.ts';
import { openingSql } from './transaction.ts';

export interface BackfillRequest {
  ownerRole: string;
  release: string;
  control: BackfillControl;
  signal?: AbortSignal | undefined;
}

/**
 * Applies a backfill, which may take seconds or days:
 *
 *   begin: the last row there is ends the first pass ─▶ chunks of rows in the order of the key ─▶ a second pass over what
 *   came meanwhile ─▶ the ranges that were left out, once more ─▶ the verification query says 0 ─▶ recorded as applied
 *
 * Each chunk is one transaction that changes its rows and moves the cursor: interrupted anywhere, the next call goes
 * on behind the last row that is through, and no row is met twice, so that its statement need not be repeatable.
 * @throws FleetError `backfill_table_missing`, `backfill_key_unusable`, `backfill_quarantined`,
 *   `backfill_unverified`, `migration_failed`, `migration_unknown`; BackfillStoppedError, BackfillHeldError where `control` asked
 *   for it
 */
export async function applyBackfill(
  client: PgClient,
  migration: Migration,
  request: BackfillRequest,
): Promise<MigrationStatistics> {
  const startedAt = performance.now();
  try {
    const run = await open(client, migration, request);
    tell(run, null);
    await runQuarantined(run);
    await runPass(run);
    await catchUp(run);
    await runQuarantined(run);
    refuseQuarantined(run);
    await verifyBackfill(run);
    const durationMs = Math.round(performance.now() - startedAt);
    await record(run, request);
    return { name: migration.name, durationMs, lockWaitMs: 0, rows: run.changed };
  } catch (error) {
    const told = [FleetError, BackfillStoppedError, BackfillHeldError];
    if (told.some((kind) => error instanceof kind)) throw error;
    throw migrationFailure(error, migration);
  }
}

async function open(client: PgClient, migration: Migration, request: BackfillRequest): Promise<BackfillRun> {
  const { backfill } = migration;
  if (backfill === undefined) throw new Error(`${migration.name} is no backfill`);
  const key = await readKey(client, migration, backfill);
  const { state, base } = await readBackfill(client, migration.name);
  const { control, ownerRole } = request;
  return {
    ...{ client, migration, ownerRole, control, key, pace: NO_PACE, changed: 0, failures: 0 },
    signal: request.signal ?? new AbortController().signal,
    limits: control.limits ?? CHUNK_LIMITS,
    statement: await rangedSql(migration.upSql),
    state:
      state ?? (await begin(client, key, { migration: migration.name, base, chunkRows: backfill.batch })),
  };
}

/** The end of the first pass is written down before its first chunk. */
async function begin(
  client: PgClient,
  key: BackfillKey,
  from: Pick<BackfillState, 'migration' | 'base' | 'chunkRows'>,
): Promise<BackfillState> {
  const bound = await lastKey({ client, key });
  const rowsEstimated = await estimateRows(client, key);
  const state = { ...from, cursor: null, bound, rowsDone: 0, rowsEstimated, heldMs: 0, quarantine: [] };
  await client.query(`BEGIN; SET LOCAL ROLE NONE; ${saveBackfillSql(state)} COMMIT`);
  return state;
}

/** As the planner sees it: the rows of the last ANALYZE, in proportion to how the table has grown since. */
async function estimateRows(client: PgClient, { table }: BackfillKey): Promise<number> {
  const { rows } = await client.query<{ 'QUERY PLAN': { Plan: { 'Plan Rows': number } }[] }>(
    `EXPLAIN (FORMAT JSON) SELECT FROM ${table}`,
  );
  return rows[0]?.['QUERY PLAN'][0]?.Plan['Plan Rows'] ?? 0;
}

/** Rows that came behind the first bound, up to the last there is now: what comes later, a default or trigger fills. */
async function catchUp(run: BackfillRun): Promise<void> {
  const bound = await lastKey(run);
  if (bound === null) return;
  run.state = { ...run.state, bound };
  await runPass(run);
}

async function record(run: BackfillRun, request: BackfillRequest): Promise<void> {
  const { client, migration, ownerRole } = run;
  await client.query(
    `${openingSql(migration, ownerRole)}${applySql(migration, request, '')}
     ${dropBackfillSql(migration.name)} COMMIT`,
  );
}
