import { FleetError, type ErrorSummary } from '../../../platform/errors.ts';
import {
  migrationChecksum,
  missingMigrations,
  type Applied,
  type Migration,
} from '../../../control-plane/releases/release.ts';
import { migrationsToRevert } from '../../../control-plane/releases/revert.ts';
import type { MigrationStatistics } from '../../../control-plane/releases/statistics.ts';
import type { TargetRun } from '../../../control-plane/rollouts/engine/target.ts';

/** What the release of the model is made of. */
export const MIGRATIONS: readonly Migration[] = ['001_a', '002_b', '003_c'].map((name, index) => {
  const [upSql, downSql] = ['SELECT 1', 'SELECT 2'];
  return {
    ...{ name, ordinal: index + 1, upSql, downSql, phase: 'expand', transactional: true },
    checksum: migrationChecksum(upSql, downSql),
    ...{ lockTimeoutMs: null, statementTimeoutMs: null, statements: null },
  };
});

/** A tenant's database, in memory: its record of migrations is all that it has. */
export interface ModelDatabase {
  applied: Applied[];
  /** Application name of the session that applied each. */
  appliedBy: Map<string, string>;
  /** The migration that fails there, up and down. */
  bad: string | undefined;
}

/** What a run is for one database: forwards, or back. */
export type ModelRun = Pick<TargetRun, 'migrations' | 'undo' | 'applicationName'>;

/** With this many migrations, as if applied by nobody's rollout. */
export function makeDatabase(count: number): ModelDatabase {
  const applied = MIGRATIONS.slice(0, count).map(({ name, checksum }) => ({ name, checksum }));
  return { applied, appliedBy: new Map(), bad: undefined };
}

export function versionOf({ applied }: ModelDatabase): string | null {
  return applied.at(-1)?.name ?? null;
}

/** Has what it lacks, by nobody's rollout: it was caught up. */
export function catchUp(database: ModelDatabase): void {
  for (const { name, checksum } of missingMigrations(database.applied, [...MIGRATIONS])) {
    database.applied.push({ name, checksum });
  }
}

/** Takes at most `limit` steps of the run. Answers those taken, and why there were not more where something is wrong. */
export function takeSteps(
  database: ModelDatabase,
  run: ModelRun,
  databaseId: string,
  limit = Infinity,
): { steps: MigrationStatistics[]; error: ErrorSummary | null } {
  const steps: MigrationStatistics[] = [];
  try {
    for (let next = nextStep(database, run, databaseId); next !== undefined && steps.length < limit;) {
      if (next.name === database.bad)
        throw new FleetError({ code: 'migration_failed', status: 422, message: 'bad' });
      if (run.undo === undefined) {
        database.applied.push({ name: next.name, checksum: next.checksum });
        database.appliedBy.set(next.name, run.applicationName);
      } else {
        database.applied.pop();
        database.appliedBy.delete(next.name);
      }
      steps.push({ name: next.name, durationMs: 1, lockWaitMs: 0, rows: 0 });
      next = nextStep(database, run, databaseId);
    }
    return { steps, error: null };
  } catch (error) {
    if (!(error instanceof FleetError)) throw error;
    return { steps, error: { code: error.code, message: error.message } };
  }
}

function nextStep(database: ModelDatabase, run: ModelRun, databaseId: string): Migration | undefined {
  const { migrations, undo } = run;
  if (undo === undefined) return missingMigrations(database.applied, migrations)[0];
  const downTo = undo.downTo.get(databaseId) ?? null;
  return migrationsToRevert(
    { ...database, interrupted: null },
    { migrations, downTo, appliedBy: undo.of },
  )[0];
}
