import { FleetError } from '../../platform/errors.ts';
import type { PgAddress } from '../../platform/pg.ts';
import { processId } from './apply.ts';
import type { DatabaseState } from './bookkeeping.ts';
import type { FindBlockers } from './contention.ts';
import { proveSchema, type SchemaGuard } from './guard.ts';
import { takeLock, type LockRequest } from './lock.ts';
import { missingMigrations, type Migration } from './release.ts';
import { finishRevert, irreversible, revertOne } from './revert-step.ts';
import { withMigrationSession } from './session.ts';
import { advanceStamp, type SchemaStamp } from './stamp.ts';
import { totals, type MigrationStatistics } from './statistics.ts';

export interface RevertRequest extends LockRequest {
  /** Role that owns the tenant's objects; the down parts run as it. */
  ownerRole: string;
  /** The published list as far as the database may be on it. */
  migrations: Migration[];
  /** The migration that stays as the last; null: none stays. */
  downTo: string | null;
  /** Id of the rollout or operation whose migrations are taken back; absent: whoever applied them. */
  appliedBy?: string | undefined;
  /** Looks at the schema before it is changed; absent: it is taken as it is. */
  guard?: SchemaGuard | undefined;
  /** Cuts the connection when it fires; the outcome of what was under way is then unknown. */
  signal?: AbortSignal | undefined;
  findBlockers?: FindBlockers | undefined;
  /** Told after each migration: what is gone when a later one fails. */
  onReverted?: ((step: MigrationStatistics) => void) | undefined;
}

export interface RevertResult {
  /** Names of the migrations taken back now, the last applied first. */
  reverted: string[];
  /** Name of the last migration that the database still has; null for none. */
  schemaVersion: string | null;
  /** As of applyMigrations. */
  stamp: SchemaStamp | null;
  durationMs: number;
  lockWaitMs: number;
  rows: number;
  steps: MigrationStatistics[];
}

/**
 * Takes migrations back, from the database's last down to `request.downTo`: the mirror of applyMigrations. Each
 * goes whole, with its records; interrupted anywhere, the next call finds in the database where to go on. Everything
 * is checked before the first: checksums, that each has a down part, and that what is on top is ours to take.
 * @throws FleetError `migration_irreversible`, `migration_ahead` (a later migration stands on top),
 *   `migration_half_applied`; else as applyMigrations
 */
export async function revertMigrations(address: PgAddress, request: RevertRequest): Promise<RevertResult> {
  const started = performance.now();
  return withMigrationSession(address, request, async (client) => {
    const waiting = { pid: processId(client), findBlockers: request.findBlockers, signal: request.signal };
    const found = await takeLock(client, request);
    const back = migrationsToRevert(found, request);
    const { guard } = request;
    let stamp = back.length > 0 ? await proveSchema(client, found, guard) : (guard?.stamp ?? null);
    const session = { ...request, waiting, counted: guard !== undefined };
    const steps: MigrationStatistics[] = [];
    let state = found;
    for (const migration of back) {
      request.signal?.throwIfAborted();
      const { step, changes } = await revertOne(client, migration, state, session);
      state = { ...state, applied: state.applied.slice(0, -1), interrupted: null };
      stamp = advanceStamp(stamp, state.applied.at(-1)?.name ?? null, changes);
      steps.push(step);
      request.onReverted?.(step);
    }
    // Also where nothing of it is ours any more: a half undone migration must not stay.
    state = await finishRevert(client, state, session);
    return {
      reverted: back.map(({ name }) => name),
      schemaVersion: state.applied.at(-1)?.name ?? null,
      stamp,
      durationMs: Math.round(performance.now() - started),
      ...totals(steps),
      steps,
    };
  });
}

/**
 * What has to go, the last applied first. @throws FleetError where something is in the way
 */
export function migrationsToRevert(
  state: Pick<DatabaseState, 'applied' | 'appliedBy' | 'interrupted'>,
  request: Pick<RevertRequest, 'migrations' | 'downTo' | 'appliedBy'>,
): Migration[] {
  const { migrations, downTo, appliedBy } = request;
  missingMigrations(state.applied, migrations);
  const keep = downTo === null ? 0 : migrations.findIndex(({ name }) => name === downTo) + 1;
  const above = state.applied.slice(keep).reverse();
  const isOurs = ({ name }: { name: string }): boolean =>
    appliedBy === undefined || state.appliedBy.get(name)?.split(':')[1] === appliedBy;
  if (!above.some(isOurs)) return [];
  refuseHalfApplied(state);
  const [top] = above;
  if (top !== undefined && (!isOurs(top) || state.applied.length > migrations.length)) throw ahead(top.name);
  const end = above.findIndex((applied) => !isOurs(applied));
  const ours = end === -1 ? above : above.slice(0, end);
  const back = ours.flatMap(({ name }) => migrations.find((migration) => migration.name === name) ?? []);
  const stuck = back.filter(({ downSql }) => downSql === null);
  if (stuck.length > 0) throw irreversible(stuck.map(({ name }) => name));
  return back;
}

function refuseHalfApplied({ applied, interrupted }: Pick<DatabaseState, 'applied' | 'interrupted'>): void {
  if (interrupted === null || applied.some(({ name }) => name === interrupted.migration)) return;
  throw new FleetError({
    code: 'migration_half_applied',
    status: 409,
    message: `${interrupted.migration} is half applied (${interrupted.statementsDone} of its statements): it can neither stay nor be taken back`,
    fix: 'let it be finished first: fleet rollout retry of the rollout that failed there',
  });
}

function ahead(name: string): FleetError {
  return new FleetError({
    code: 'migration_ahead',
    status: 409,
    message: `${name} was applied later and stands on top of what is to be taken back`,
    fix: 'undo the later rollout first',
  });
}
