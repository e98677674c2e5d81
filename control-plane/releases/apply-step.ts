import type { PgClient } from '../../platform/pg.ts';
import { applySql } from './bookkeeping.ts';
import type { Migration } from './release.ts';
import type { MigrationRun } from './statistics.ts';
import { runStep, type Proof, type StepRequest } from './step.ts';

/**
 * Applies one migration and writes both its records, in one transaction and one round trip.
 * @throws FleetError `migration_failed`, `migration_unknown`
 */
export function applyInTransaction(
  client: PgClient,
  migration: Migration,
  request: StepRequest & { release: string; proof?: Proof | undefined },
): Promise<MigrationRun> {
  const record = { release: request.release, isProven: request.proof !== undefined };
  return runStep(client, migration, applySql(migration, record, migration.upSql), request);
}
