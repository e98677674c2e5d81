import { randomUUID } from 'node:crypto';
import type { RotationPlan, StartRotation } from '../../../contract/rotation.ts';
import type { Match } from '../../../contract/rollout.ts';
import { FleetError, SQLSTATE, sqlState } from '../../../platform/errors.ts';
import { requireRegion, visibleRegions, type Asker } from '../../access/caller.ts';
import { auditAsked, canonicalJson } from '../../audit/audit.ts';
import { wake } from '../../operations/driver.ts';
import type { Transaction } from '../../registry/registry.ts';
import { ROTATION } from './driver.ts';
import { verdictOf } from './plan.ts';
import type { RunRecord } from './run.ts';
import { askToStop, insertRun, lockOpenRuns } from './run-store.ts';
import { findMigrating, insertTargets, matchedTenants } from './target-store.ts';

/**
 * Starts a run over the tenants that match, or joins one that is under way with the same wish. One that the policy has
 * begun makes way: what it has not done yet comes up again by itself. For `now` one that was asked for makes way too,
 * unless it is as urgent: a leaked credential does not wait for hours of routine.
 * @throws FleetError 409 `rotation_under_way`, 422 `no_tenant_matches`, 403 `region_forbidden`
 */
export async function startRun(
  tx: Transaction,
  wanted: StartRotation,
  asker: Asker,
): Promise<{ id: string; joined: boolean }> {
  const regions = requireRegions(wanted.match, asker);
  const open = await lockOpenRuns(tx);
  const asked = open.find(({ scheduled, stop }) => !scheduled && stop === null);
  if (asked !== undefined && isSame(asked, wanted, regions)) return { id: asked.id, joined: true };
  if (asked !== undefined && (asked.now || !wanted.now)) throw underWay(asked, regions);
  const targets = await matchedTenants(tx, wanted.match, regions);
  if (targets.length === 0) throw noTenantMatches();
  const id = randomUUID();
  for (const other of open) await makeWay(tx, other, id, asker);
  await insertWithTargets(
    tx,
    { ...wanted, id, regions, scheduled: false },
    targets.map((one) => one.id),
    { ...asker, reason: wanted.reason },
  );
  return { id, joined: false };
}

/** By the policy of their tiers. Not beside another run: what is due now is due in a few minutes too. */
export async function startScheduledRun(
  tx: Transaction,
  tenantIds: readonly string[],
  asker: Asker,
): Promise<void> {
  if ((await lockOpenRuns(tx)).length > 0) return;
  const run = { id: randomUUID(), match: {}, regions: null, scheduled: true, now: false, ...SCHEDULED };
  await insertWithTargets(tx, run, tenantIds, asker);
}

/** Nobody waits for it. */
const SCHEDULED = { parallel: 1, perServer: 1 };

/** What a run would take now. */
export async function planRun(tx: Transaction, wanted: StartRotation, asker: Asker): Promise<RotationPlan> {
  const matched = await matchedTenants(tx, wanted.match, requireRegions(wanted.match, asker));
  const targets = [];
  for (const { id, state, ...target } of matched) {
    const verdict = verdictOf(state);
    const migrating = verdict.may === 'begin' ? await findMigrating(tx, id) : undefined;
    const because = migrating === undefined ? null : `rollout ${migrating} is migrating it`;
    targets.push({ ...target, deferred: verdict.may === 'begin' ? because : verdict.reason });
  }
  return { total: targets.length, targets };
}

type Inserted = StartRotation & Pick<RunRecord, 'id' | 'regions' | 'scheduled'>;

async function insertWithTargets(
  tx: Transaction,
  run: Inserted,
  tenantIds: readonly string[],
  asker: Asker,
): Promise<void> {
  const { caller, requestId, reason = null } = asker;
  try {
    await insertRun(tx, { ...run, reason, caller, requestId });
  } catch (error) {
    // Two requests at one instant: the unique index lets one through.
    if (sqlState(error) === SQLSTATE.uniqueViolation) throw underWay(undefined, run.regions);
    throw error;
  }
  await insertTargets(tx, run.id, tenantIds);
  auditAsked(tx, asker, {
    action: 'rotation.start',
    resource: `rotation:${run.id}`,
    after: {
      match: run.match,
      regions: run.regions,
      now: run.now,
      scheduled: run.scheduled,
      tenants: tenantIds.length,
    },
  });
  await wake(tx, ROTATION, run.id);
}

/** @returns the regions that the caller may see; null = all */
function requireRegions(match: Match, { caller }: Asker): string[] | null {
  for (const region of [match.region ?? []].flat()) requireRegion(caller, region);
  return visibleRegions(caller);
}

function isSame(run: RunRecord, wanted: StartRotation, regions: string[] | null): boolean {
  const wish = ({ match, now }: Pick<RunRecord, 'match' | 'now'>, of: string[] | null): string =>
    canonicalJson({ match, now, regions: of });
  return wish(run, run.regions) === wish(wanted, regions);
}

/** Whoever does not see the other run can neither follow nor cancel it. */
function underWay(run: RunRecord | undefined, regions: string[] | null): FleetError {
  const sees = run !== undefined && (regions === null || run.regions?.every((one) => regions.includes(one)));
  return new FleetError({
    code: 'rotation_under_way',
    status: 409,
    message: 'another selection of tenants is being rotated',
    fix: sees
      ? `fleet rotation get ${run.id} -w waits for it, fleet rotation cancel ${run.id} stops it`
      : 'try again later; a single tenant does not wait for it: fleet secret rotate NAME, with --now for a leaked one',
    retryable: true,
  });
}

function noTenantMatches(): FleetError {
  return new FleetError({
    code: 'no_tenant_matches',
    status: 422,
    message: 'there is no live tenant that meets all the conditions',
    fix: 'fleet tenant list shows their regions, tiers, servers and labels',
  });
}

async function makeWay(tx: Transaction, run: RunRecord, forId: string, asker: Asker): Promise<void> {
  if (run.stop !== null) return;
  await askToStop(tx, run.id, { code: 'made_way', message: `it has made way for run ${forId}` });
  auditAsked(tx, asker, {
    action: 'rotation.make-way',
    resource: `rotation:${run.id}`,
    after: { for: forId },
  });
}
