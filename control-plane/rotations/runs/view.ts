import type { Rotation, RotationTargetState } from '../../../contract/rotation.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { mayUseRegion, type Caller } from '../../access/caller.ts';
import { NO_TARGETS, rotationNotFound, type RunRecord } from './run.ts';
import { findRun } from './run-store.ts';
import { countTargets, listTargets } from './target-store.ts';

/** What a person has to look at. */
const ATTENTION: RotationTargetState[] = ['failed', 'deferred'];
/** Of each run: a server that is down has thousands of tenants which all say the same. */
const ATTENTION_MAX = 20;

/**
 * A run of regions that are not all the caller's names tenants that are not theirs to know: it is not there for them.
 * @throws FleetError 404 `rotation_not_found`
 */
export async function visibleRun(db: Queryable, id: string, caller: Caller): Promise<RunRecord> {
  const run = await findRun(db, id);
  const allowed = run?.regions?.every((region) => mayUseRegion(caller, region));
  if (run === undefined || !(allowed ?? caller.regions.length === 0)) throw rotationNotFound(id);
  return run;
}

/** The runs as the API shows them. */
export async function runViews(db: Queryable, runs: readonly RunRecord[]): Promise<Rotation[]> {
  const counts = await countTargets(
    db,
    runs.map(({ id }) => id),
  );
  const views: Rotation[] = [];
  for (const run of runs) {
    const { regions: _regions, caller, requestId: _requestId, stop, createdAt, ...rest } = run;
    const counted = counts.get(run.id) ?? NO_TARGETS;
    const needy = ATTENTION.some((state) => counted[state] > 0);
    views.push({
      ...rest,
      actor: caller.name,
      error: run.error ?? stop,
      total: Object.values(counted).reduce((sum, count) => sum + count, 0),
      counts: counted,
      attention: needy ? await listTargets(db, run.id, { states: ATTENTION, limit: ATTENTION_MAX }) : [],
      createdAt: createdAt.toISOString(),
      startedAt: run.startedAt?.toISOString() ?? null,
      finishedAt: run.finishedAt?.toISOString() ?? null,
    });
  }
  return views;
}
