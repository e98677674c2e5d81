import { randomUUID } from 'node:crypto';
import { FleetError } from '../../../platform/errors.ts';
import { requireRegion, type Asker } from '../../access/caller.ts';
import { auditAsked } from '../../audit/audit.ts';
import { requireVersion } from '../../http/conflict.ts';
import { wake } from '../../operations/driver.ts';
import type { Transaction } from '../../registry/registry.ts';
import type { Migration } from '../../releases/release.ts';
import {
  clearCurrentRelease,
  currentRelease,
  findRelease,
  listMigrations,
  setCurrentRelease,
} from '../../releases/store.ts';
import { missingRelease } from '../../releases/withdrawn.ts';
import { lockMembership } from '../../tenants/store.ts';
import { rolloutInWrongState, rolloutNotFound } from '../rollout.ts';
import { lockActiveRollout, lockRollout, moveRollout, type RolloutRecord } from '../store.ts';
import { countTargets, skipPending, targetRegions } from '../target-store.ts';
import { refuseUnconfirmed, undoLosses } from './undo-losses.ts';
import {
  changedTargets,
  findOpenUndo,
  halfAppliedTargets,
  insertUndo,
  previousRelease,
  type ChangedTarget,
} from './undo-store.ts';

/**
 * Takes back what a rollout has changed: by a rollout of its own, over exactly its targets, from the last wave to the
 * first, within the same limits, budgets and gates. Bakes and approvals do not delay a way back. All that can be
 * refused is refused here, before the first target. From now on new tenants are born at the release of before.
 * Answers the id of the undo; asked again while it is under way, the same.
 * @throws FleetError 404 `rollout_not_found`, 409 `wrong_state`, `rollout_active`, `targets_unsettled`,
 *   `nothing_to_undo`, `undo_blocked`, `release_superseded`, `migration_irreversible`, `migration_half_applied`; 422
 *   `confirmation_required` where a way back destroys data and `confirm` is not the release's name
 */
export async function undoRollout(
  tx: Transaction,
  id: string,
  asker: Asker & { confirm?: string | undefined },
): Promise<string> {
  const active = await lockActiveRollout(tx);
  const rollout = await lockRollout(tx, id);
  if (rollout === undefined) throw rolloutNotFound(id);
  for (const region of await targetRegions(tx, id)) requireRegion(asker.caller, region);
  const open = await findOpenUndo(tx, id);
  if (open !== undefined) return open;
  requireVersion({ noun: 'rollout', name: id, version: rollout.version }, asker.ifMatch);
  refuseUndoOfUndo(rollout);
  if (active !== undefined && active.id !== id) throw otherActive(active);
  await refuseUnsettled(tx, rollout);
  const release = await findRelease(tx, rollout.release);
  if (release === undefined) throw await missingRelease(tx, rollout.release);
  const changed = await changedTargets(tx, id);
  const migrations = await listMigrations(tx, release.headOrdinal);
  refuseHalfApplied(await halfAppliedTargets(tx, id));
  refuseImpossible(rollout, changed, migrations);
  const losses = await undoLosses(migrationsOf(changed, migrations));
  refuseUnconfirmed(rollout, losses, asker.confirm);
  const bornAt = await bornAtBefore(tx, rollout, migrations.length);

  const actor = asker.caller.name;
  const cause = { code: 'undoing', message: asker.reason ?? `undone by ${actor}`, actor };
  if (!(await moveRollout(tx, rollout, 'undo', cause))) throw rolloutInWrongState(rollout, 'undo');
  await skipPending(tx, id, 'undone');
  const undo = { id: randomUUID(), of: id, author: asker.caller };
  await insertUndo(tx, undo);
  await moveRollout(tx, { id: undo.id, state: 'planned' }, 'start', null);
  if (bornAt !== undefined) await restoreRelease(tx, bornAt);
  auditAsked(tx, asker, {
    action: 'rollout.undo',
    resource: `rollout:${id}`,
    before: { state: rollout.state },
    after: {
      ...{ undo: undo.id, targets: changed.length, losses },
      ...(bornAt === undefined ? {} : { current: bornAt }),
    },
  });
  await wake(tx, 'rollout', undo.id);
  return undo.id;
}

function refuseUndoOfUndo(rollout: RolloutRecord): void {
  if (rollout.undoOf === null) return;
  throw new FleetError({
    code: 'wrong_state',
    status: 409,
    message: `rollout ${rollout.id} is an undo itself`,
    fix: `to have release ${rollout.release} again: fleet rollout start --release ${rollout.release}`,
  });
}

function otherActive(active: RolloutRecord): FleetError {
  return new FleetError({
    code: 'rollout_active',
    status: 409,
    message: `rollout ${active.id} of release ${active.release} is ${active.state}; the fleet has one at a time`,
    fix: `wait for it, or end it: fleet rollout abort ${active.id}`,
  });
}

/** What is in flight may still be applied: only then it is known what there is to take back. */
async function refuseUnsettled(tx: Transaction, { id }: RolloutRecord): Promise<void> {
  const { running, unknown } = await countTargets(tx, id, null);
  if (running + unknown === 0) return;
  throw new FleetError({
    code: 'targets_unsettled',
    status: 409,
    message: `${running + unknown} targets of rollout ${id} are still in flight or not settled`,
    fix: `wait until they have ended (fleet rollout get ${id} -w), then undo`,
  });
}

/** Everything about the targets and the migrations that stands in the way, named. */
export function refuseImpossible(
  rollout: Pick<RolloutRecord, 'id' | 'release'>,
  changed: readonly ChangedTarget[],
  migrations: readonly Migration[],
): void {
  if (changed.length === 0) {
    throw new FleetError({
      code: 'nothing_to_undo',
      status: 409,
      message: `rollout ${rollout.id} has changed no database that is still there`,
      fix: `fleet rollout get ${rollout.id}`,
    });
  }
  const later = changed.filter(({ ordinal }) => ordinal > migrations.length);
  if (later.length > 0) {
    throw blocked(
      'release_superseded',
      later,
      `have a later release than ${rollout.release}`,
      'undo the later rollout first',
    );
  }
  const away = changed.filter(({ tenantState }) => tenantState !== 'active');
  if (away.length > 0) {
    throw blocked('undo_blocked', away, 'are suspended or moving', 'resume them, or wait for their move');
  }
  refuseIrreversible(migrationsOf(changed, migrations));
}

/** Those that the undo takes back somewhere. */
function migrationsOf(changed: readonly ChangedTarget[], migrations: readonly Migration[]): Migration[] {
  const names = new Set(changed.flatMap((target) => target.migrations));
  return migrations.filter(({ name }) => names.has(name));
}

function refuseHalfApplied(targets: readonly Pick<ChangedTarget, 'slug' | 'schemaVersion'>[]): void {
  if (targets.length === 0) return;
  throw blocked(
    'migration_half_applied',
    targets,
    'have a migration half applied, which can neither stay nor be taken back',
    'let it be finished first: retry the rollout, or start one of the same release',
  );
}

function blocked(
  code: string,
  targets: readonly Pick<ChangedTarget, 'slug' | 'schemaVersion'>[],
  why: string,
  fix: string,
): FleetError {
  const few = targets.slice(0, NAMED).map(({ slug }) => slug);
  const more = targets.length > NAMED ? ` and ${targets.length - NAMED} more` : '';
  return new FleetError({
    code,
    status: 409,
    message: `it cannot be undone: ${few.join(', ')}${more} ${why}`,
    fix,
    errors: targets.slice(0, NAMED).map(({ slug, schemaVersion }) => ({
      path: slug,
      message: `${why}${schemaVersion === null ? '' : ` (at ${schemaVersion})`}`,
    })),
  });
}

/** Ten names fill a line or two; the count says the rest. */
const NAMED = 10;

/** A down part of a contract step makes the shape again, but not what was in it. */
function refuseIrreversible(migrations: readonly Migration[]): void {
  const errors = migrations.flatMap(({ name, downSql, phase }) => {
    if (downSql === null) return { path: name, message: 'has no down part' };
    return phase === 'contract'
      ? { path: name, message: 'its down part cannot bring dropped data back' }
      : [];
  });
  if (errors.length === 0) return;
  throw new FleetError({
    code: 'migration_irreversible',
    status: 409,
    message: `it cannot be undone: ${errors.map(({ path, message }) => `${path} ${message}`).join('; ')}`,
    fix: 'publish a new migration that brings the schema to where you want it, and roll it out',
    errors,
  });
}

/**
 * What new tenants are to be born at again: null for nothing at all, undefined where they never were born at this
 * rollout's release.
 */
async function bornAtBefore(
  tx: Transaction,
  rollout: RolloutRecord,
  headOrdinal: number,
): Promise<string | null | undefined> {
  const current = await currentRelease(tx);
  if (current === undefined || current.headOrdinal < headOrdinal) return undefined;
  const before = rollout.state === 'succeeded' ? await previousRelease(tx, rollout.id) : rollout.release;
  if (current.name === rollout.release && before !== rollout.release) return before;
  throw new FleetError({
    code: 'release_superseded',
    status: 409,
    message: `the fleet is at release ${current.name}, by another rollout than ${rollout.id}`,
    fix: 'undo the rollout that brought it there first: fleet rollout list',
  });
}

/** From here to the commit no tenant can come in at the release that goes. */
async function restoreRelease(tx: Transaction, name: string | null): Promise<void> {
  await lockMembership(tx, 'exclusive');
  if (name === null) await clearCurrentRelease(tx);
  else await setCurrentRelease(tx, name);
}
