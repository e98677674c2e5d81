import { applyMigrations } from '../releases/apply.ts';
import type { BackfillControl, BackfillCount } from '../releases/backfill-run.ts';
import { currentRelease, listMigrations } from '../releases/store.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { StepContext } from '../operations/definition.ts';
import type { Transaction } from '../registry/registry.ts';
import type { DatabaseRecord } from '../servers/database.ts';
import { lockMembership } from './store.ts';
import type { TenantDeps } from './deps.ts';

/** With its `id` where it has lived already: then it is proven, and its backfills held, as rollouts do. */
type Place = Pick<DatabaseRecord, 'serverId' | 'name' | 'ownerRole'> & { id?: string };

/**
 * Brings a database that rollouts do not see (being made, suspended) to the release that the fleet is at, and
 * then runs `join` in the transaction that makes its tenant active. A rollout may end at any moment: `join`
 * runs only while the release is still the one that the database was brought to.
 * Returns the name of the last migration applied.
 */
export async function joinFleet(
  context: StepContext<unknown>,
  deps: TenantDeps,
  place: Place,
  schemaVersion: string | null,
  join: (tx: Transaction, schemaVersion: string | null) => Promise<void>,
): Promise<string | null> {
  for (let version = schemaVersion; ;) {
    version = await catchUp(context, deps, place, version);
    const joined = await context.transaction(async (tx) => {
      await lockMembership(tx, 'shared');
      if (await isBehind(tx, version)) return false;
      await join(tx, version);
      return true;
    });
    if (joined) return version;
  }
}

async function catchUp(
  context: StepContext<unknown>,
  deps: TenantDeps,
  place: Place,
  schemaVersion: string | null,
): Promise<string | null> {
  const release = await currentRelease(deps.registry);
  if (release === undefined || !(await isBehind(deps.registry, schemaVersion))) return schemaVersion;
  context.signal.throwIfAborted();
  const { name: database, ownerRole } = place;
  const result = await applyMigrations(await deps.servers.migrator(place.serverId, { database, ownerRole }), {
    ownerRole,
    migrations: await listMigrations(deps.registry, release.headOrdinal),
    release: release.name,
    applicationName: `fleet:${context.operationId}:0`,
    signal: context.signal,
    guard: place.id === undefined ? undefined : deps.guard(place.id),
    backfill: controlOf(context, deps, place),
  });
  return result.schemaVersion;
}

/** Nothing but the log tells of an operation what it waits for. */
function controlOf(context: StepContext<unknown>, deps: TenantDeps, place: Place): BackfillControl {
  if (place.id === undefined) return {};
  const throttle = deps.throttle({ databaseId: place.id, serverId: place.serverId, database: place.name });
  let told: string | null = null;
  const onProgress = ({ migration, reason }: BackfillCount): void => {
    if (reason !== null && reason !== told) context.logger.info('a backfill is held', { migration, reason });
    told = reason;
  };
  return { throttle, onProgress };
}

/** Whether new tenants are born with migrations that a database at `schemaVersion` has not. */
async function isBehind(db: Queryable, schemaVersion: string | null): Promise<boolean> {
  const release = await currentRelease(db);
  if (release === undefined || release.head === schemaVersion) return false;
  const migrations = await listMigrations(db, release.headOrdinal);
  const known = migrations.some((migration) => migration.name === schemaVersion);
  return known || schemaVersion === null;
}
