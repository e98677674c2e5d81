import type { RolloutSchemaDiff } from '../../../contract/schema-diff.ts';
import type { ReferenceDeps } from '../../drift/reference.ts';
import { describeVersions, diffVersions, type Versions } from '../../drift/version-diff.ts';
import type { Migration } from '../../releases/release.ts';
import { listMigrations } from '../../releases/store.ts';
import { targetsByMissing } from './plan-store.ts';
import { rolloutNotFound } from '../rollout.ts';
import { findRollout } from '../store.ts';

/**
 * What a rollout makes of the schemas of its targets in `regions` (null: everywhere), by the version that they have.
 * Only for the most common one the schemas are made and compared: of those few that stand elsewhere it is enough to
 * name what they get.
 * @throws FleetError 404 `rollout_not_found`
 */
export async function rolloutSchemaDiff(
  deps: ReferenceDeps,
  id: string,
  regions: string[] | null,
): Promise<RolloutSchemaDiff> {
  const rollout = await findRollout(deps.registry, id);
  if (rollout === undefined) throw rolloutNotFound(id);
  const published = await listMigrations(deps.registry);
  const starts = await targetsByMissing(deps.registry, id, regions);
  const diffs = starts.map(async ({ missing, targets, servers }, place) => {
    const versions = versionsOf(missing, published, rollout.undoOf !== null);
    const diff =
      place === 0
        ? await diffVersions(deps, versions, servers)
        : { ...describeVersions(published, versions), schema: null, absent: NOT_COMPARED };
    return { ...diff, targets };
  });
  return { rollout: id, release: rollout.release, starts: await Promise.all(diffs) };
}

const NOT_COMPARED = {
  code: 'not_compared',
  message: 'only the most common version is compared',
};

/** An undo lists what it takes back, the last first. */
function versionsOf(missing: readonly string[], published: readonly Migration[], undo: boolean): Versions {
  const ordinals = missing.map((name) => published.find((one) => one.name === name)?.ordinal ?? 0);
  const [low, high] = [Math.min(...ordinals), Math.max(...ordinals)];
  return undo ? { from: high, to: low - 1 } : { from: low - 1, to: high };
}
