import type { RehearsedMigration } from '../../../contract/rehearsal.ts';
import { FleetError, sqlState, summarizeError } from '../../../platform/errors.ts';
import type { PgAddress } from '../../../platform/pg.ts';
import { applyMigrations } from '../../releases/apply.ts';
import type { FindBlockers } from '../../releases/contention.ts';
import type { SchemaGuard } from '../../releases/guard.ts';
import type { Migration } from '../../releases/release.ts';
import { withMigrationSession } from '../../releases/session.ts';
import type { MigrationStatistics } from '../../releases/statistics.ts';
import { TABLES_SQL, watchTables, type TableFacts } from './measure.ts';
import { unmeasured, type Rehearsed } from './rehearsal.ts';

export interface OnCloneRequest {
  ownerRole: string;
  migrations: Migration[];
  /** Names of those that the tenant's database lacked when the rollout was planned. */
  missing: readonly string[];
  release: string;
  applicationName: string;
  guard: SchemaGuard;
  findBlockers: FindBlockers;
  signal: AbortSignal;
}

/**
 * Applies the migrations for good to a copy, those without a transaction and backfills too.
 * @param address of the copy, as the server's migrator
 */
export async function rehearseOnClone(address: PgAddress, request: OnCloneRequest): Promise<Rehearsed> {
  const steps: MigrationStatistics[] = [];
  const watch = watchTables(await readTables(address, request));
  const error = await apply(address, request, steps);
  const [last] = steps.slice(-1);
  if (last !== undefined) watch.note(last.name, await readTables(address, request), []);
  return {
    ...unmeasured(error === undefined ? 'passes' : 'fails', {}),
    error: error === undefined ? null : summarizeError(error),
    migrations: [...steps.map(passed), ...restOf(request.missing, steps, error !== undefined)],
    rewrites: watch.rewrites(),
  };
}

/** Answers why a migration failed. @throws whatever says nothing of it */
async function apply(
  address: PgAddress,
  request: OnCloneRequest,
  steps: MigrationStatistics[],
): Promise<FleetError | undefined> {
  try {
    await applyMigrations(address, { ...request, onApplied: (step) => void steps.push(step) });
    return undefined;
  } catch (error) {
    if (request.signal.aborted || !isOfMigration(error)) throw error;
    return error;
  }
}

/** A connection that was lost, or a disk that has no room for two, says nothing of the migration. */
function isOfMigration(error: unknown): error is FleetError {
  return error instanceof FleetError && !error.retryable && !isOutOfRoom(error);
}

/** SQLSTATE class 53: insufficient resources. */
export function isOutOfRoom(error: FleetError): boolean {
  return sqlState(error.cause)?.startsWith('53') === true;
}

function passed({ name, durationMs, rows }: MigrationStatistics): RehearsedMigration {
  return { name, outcome: 'passed', durationMs, rows };
}

/** Where one has failed: that one, and those behind it. */
function restOf(
  missing: readonly string[],
  steps: readonly MigrationStatistics[],
  failed: boolean,
): RehearsedMigration[] {
  if (!failed) return [];
  return missing.slice(steps.length).map((name, index) => {
    const outcome = index === 0 ? 'failed' : 'not_rehearsed';
    return { name, outcome, durationMs: null, rows: null };
  });
}

async function readTables(
  address: PgAddress,
  session: Pick<OnCloneRequest, 'ownerRole' | 'applicationName' | 'signal'>,
): Promise<TableFacts[]> {
  return withMigrationSession(address, session, async (client) => {
    const { rows } = await client.query<TableFacts>(TABLES_SQL);
    return rows;
  });
}
