import type { Queryable } from '../../../platform/pg.ts';
import type { Transaction } from '../../registry/registry.ts';
import { haltRollout, haltWithFailures, recordEngineAction } from './halt.ts';
import { lockRollout, moveRollout, type RolloutRecord } from '../store.ts';
import { countTargets } from '../target-store.ts';
import type { Undo } from './target.ts';
import { markUndone, undoGoals } from '../verbs/undo-store.ts';

/**
 * Every wave of an undo has passed: it has succeeded, and what it belongs to is undone. Tenants that went away
 * meanwhile have kept the release, so that the undo halts.
 */
export async function finishUndo(tx: Transaction, undo: RolloutRecord, of: string): Promise<void> {
  const counts = await countTargets(tx, undo.id, null);
  if (counts.failed + counts.unreachable > 0) return haltWithFailures(tx, undo, counts);
  if (counts.deferred > 0) {
    return haltRollout(tx, undo, undefined, {
      code: 'targets_behind',
      message: `${counts.deferred} tenants were suspended or moved meanwhile and have kept release ${undo.release}`,
      fix: `resume them, then fleet rollout abort ${undo.id} and fleet rollout undo ${of} again`,
    });
  }
  await moveRollout(tx, undo, 'succeed', null);
  await markUndone(tx, { id: undo.id, of });
  const original = await lockRollout(tx, of);
  if (original !== undefined) await moveRollout(tx, original, 'undone', original.cause);
  recordEngineAction(tx, undo, 'rollout.succeed', { release: undo.release, undone: of });
}

/**
 * An undo was given up: what it has taken back is undone, the rest of its rollout stays as it is, and that counts as
 * aborted; it may be undone again.
 */
export async function forsakeUndo(tx: Transaction, undo: RolloutRecord, actor: string): Promise<void> {
  if (undo.undoOf === null) return;
  await markUndone(tx, { id: undo.id, of: undo.undoOf });
  const original = await lockRollout(tx, undo.undoOf);
  if (original === undefined) return;
  const message = `its undo ${undo.id} was aborted before it was through`;
  const fix = `fleet rollout undo ${original.id} takes the rest back`;
  await moveRollout(tx, original, 'forsake', { code: 'undo_aborted', message, fix, actor });
}

/** Where the targets of an undo are to go; undefined for any other rollout. */
export async function readUndo(
  db: Queryable,
  { id, undoOf }: Pick<RolloutRecord, 'id' | 'undoOf'>,
): Promise<Undo | undefined> {
  return undoOf === null ? undefined : { of: undoOf, downTo: await undoGoals(db, id) };
}
