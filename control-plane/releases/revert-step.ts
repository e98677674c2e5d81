import { FleetError } from '../../platform/errors.ts';
import type { PgClient } from '../../platform/pg.ts';
import { revertSql, type DatabaseState } from './bookkeeping.ts';
import type { Migration } from './release.ts';
import type { MigrationRun } from './statistics.ts';
import { runStep, type StepRequest } from './step.ts';
import { revertStepwise } from './stepwise.ts';

/**
 * Runs the down part of the database's last migration and takes its records back, in one transaction where it
 * may be one.
 * @throws FleetError `migration_irreversible`, `migration_failed`, `migration_unknown`
 */
export async function revertOne(
  client: PgClient,
  migration: Migration,
  state: Pick<DatabaseState, 'interrupted'>,
  request: StepRequest,
): Promise<MigrationRun> {
  const { downSql } = migration;
  if (downSql === null) throw irreversible([migration.name]);
  if (!migration.transactional) {
    return { step: await revertStepwise(client, migration, { ...request, state }), changes: null };
  }
  return runStep(client, { ...migration, upSql: downSql }, revertSql(migration, downSql), request);
}

/**
 * A down part outside a transaction that was interrupted has left a migration which is neither there nor gone: it is
 * brought to its end before anything else happens to the database. Answers the state after it.
 */
export async function finishRevert(
  client: PgClient,
  state: DatabaseState,
  request: StepRequest & { migrations: Migration[] },
): Promise<DatabaseState> {
  const half = state.interrupted?.migration;
  const last = state.applied.at(-1)?.name;
  if (half === undefined || half !== last) return state;
  const migration = request.migrations.find(({ name }) => name === half);
  if (migration === undefined) {
    throw new FleetError({
      code: 'migration_half_undone',
      status: 409,
      message: `${half} is half undone in this database, and the release does not have it`,
      fix: 'go on with the undo that was interrupted: fleet rollout list',
    });
  }
  await revertOne(client, migration, state, request);
  return { ...state, applied: state.applied.slice(0, -1), interrupted: null };
}

/** Migrations that nothing takes back. */
export function irreversible(names: string[]): FleetError {
  return new FleetError({
    code: 'migration_irreversible',
    status: 409,
    message: `there is no down part in ${names.join(', ')}`,
    fix: 'publish a new migration that brings the schema to where you want it, and roll it out',
  });
}
