import { randomUUID } from 'node:crypto';
import type { NothingToPlan, RolloutSpec } from '../../../contract/rollout.ts';
import { FleetError } from '../../../platform/errors.ts';
import { requireRegion, type Asker } from '../../access/caller.ts';
import { auditAsked } from '../../audit/audit.ts';
import { requireVersion } from '../../http/conflict.ts';
import { wake } from '../../operations/driver.ts';
import type { Transaction } from '../../registry/registry.ts';
import { releaseChecksum } from '../../releases/release.ts';
import { currentRelease, findRelease, listMigrations, setCurrentRelease } from '../../releases/store.ts';
import type { ReleaseRecord } from '../../releases/store.ts';
import { lockRelease } from '../../releases/withdrawn-store.ts';
import { missingRelease } from '../../releases/withdrawn.ts';
import { fleetMembers, lockMembership } from '../../tenants/store.ts';
import { createCalendar } from '../plan/calendar.ts';
import { refuseBlocked } from '../plan/contract.ts';
import { refuseChangedSincePlan, refuseEdited } from '../plan/edited.ts';
import { refuseUnhealthy } from '../plan/health.ts';
import { refuseFailingRehearsal } from '../rehearsals/refuse.ts';
import { isLive, planWaves, type PlannedWave } from '../plan/plan.ts';
import { alreadyActive, rolloutInWrongState, rolloutNotFound } from '../rollout.ts';
import { checkSpec } from '../plan/spec.ts';
import {
  insertRollout,
  lockActiveRollout,
  lockRollout,
  moveRollout,
  queueRollout,
  registryNow,
  type RolloutRecord,
} from '../store.ts';
import { supersedeRollout } from './supersede.ts';
import { countTargets, targetRegions } from '../target-store.ts';
import { rememberPreviousRelease } from './undo-store.ts';
import { refuseUnmatched } from '../plan/unmatched.ts';
import { leftBehind } from '../engine/wait-store.ts';
import { listWaves, moveWave } from '../wave-store.ts';

/**
 * Freezes the plan of a rollout: which databases, in which wave, lacking what. Nothing runs yet.
 * @throws FleetError 404 `release_not_found`, 409 `release_superseded`, 403 `region_forbidden`, 400 `spec_invalid`,
 *   400 `calendar_invalid`, 409 `migration_edited`, and where a wave fits nobody (see `refuseUnmatched`)
 */
export async function planRollout(tx: Transaction, spec: RolloutSpec, asker: Asker): Promise<string> {
  return storePlan(tx, spec, await makePlan(tx, spec, asker), asker);
}

/** The same, where there is something to plan; where no database lacks anything, that is what is answered. */
export async function planUnlessDone(
  tx: Transaction,
  spec: RolloutSpec,
  asker: Asker,
): Promise<string | NothingToPlan> {
  const plan = await makePlan(tx, spec, asker);
  if (plan.waves.some((wave) => wave.targets.length > 0)) return storePlan(tx, spec, plan, asker);
  const current = await currentRelease(tx);
  const { name } = plan.release;
  return { release: name, nothingToDo: true, current: current?.name === name };
}

type MadePlan = Awaited<ReturnType<typeof makePlan>>;

async function storePlan(
  tx: Transaction,
  spec: RolloutSpec,
  { release, migrations, members, waves }: MadePlan,
  asker: Asker,
): Promise<string> {
  for (const member of members) requireRegion(asker.caller, member.region);
  const id = randomUUID();
  await insertRollout(tx, {
    ...{ id, spec, author: asker.caller, waves },
    releaseChecksum: releaseChecksum(migrations),
  });
  auditAsked(tx, asker, {
    action: 'rollout.plan',
    resource: `rollout:${id}`,
    after: {
      release: release.name,
      waves: waves.map(({ name, targets }) => ({ name, targets: targets.length })),
    },
  });
  return id;
}

async function makePlan(tx: Transaction, spec: RolloutSpec, { caller }: Asker) {
  // A withdrawal waits for the plan to be stored, or is seen here.
  const release = await requireUsable(tx, spec.release, await lockRelease(tx, spec.release, 'shared'));
  checkSpec(spec);
  const migrations = await listMigrations(tx, release.headOrdinal);
  await refuseEdited(tx, release, migrations, caller);
  await refuseUnmatched(tx, spec);
  const members = await fleetMembers(tx, { behindOrdinal: release.headOrdinal });
  const waves: PlannedWave[] = planWaves(spec, {
    migrations,
    members,
    calendar: createCalendar(spec.calendar ?? []),
    left: await leftBehind(tx),
    now: await registryNow(tx),
  });
  return { release, migrations, members, waves };
}

export interface StartRequest extends Asker {
  /** Wait for the active rollout to end instead of being refused. */
  queue?: boolean | undefined;
  /** The halted or aborted rollout whose place this one takes. */
  supersede?: string | undefined;
  /** Start although the last rehearsal says that targets would fail. */
  despiteRehearsal?: boolean | undefined;
}

/**
 * Starts a planned rollout, or submits it for approval where its spec asks for one. Where every live tenant is at the
 * release already it has succeeded at once, and no database is visited: the registry's record decides.
 * @throws FleetError 404 `rollout_not_found`, 409 `rollout_active`, 409 `wrong_state`, 409 `rollout_abandoned`,
 *   409 `targets_unsettled`, 409 `servers_unreachable`, 409 `contract_blocked`, 409 `migration_edited`
 */
export async function startRollout(tx: Transaction, id: string, asker: StartRequest): Promise<void> {
  const active = await lockActiveRollout(tx);
  const rollout = await lockRollout(tx, id);
  if (rollout === undefined) throw rolloutNotFound(id);
  if (isStarted(rollout) || isQueuedAlready(rollout, asker)) return;
  requireVersion({ noun: 'rollout', name: id, version: rollout.version }, asker.ifMatch);
  if (rollout.state !== 'planned') throw rolloutInWrongState(rollout, 'start');
  for (const region of await targetRegions(tx, id)) requireRegion(asker.caller, region);
  if (asker.supersede !== undefined) await supersedeRollout(tx, asker.supersede, rollout, asker);
  if (active !== undefined && active.id !== asker.supersede) {
    if (asker.queue !== true) throw alreadyActive(active);
    const despiteRehearsal = asker.despiteRehearsal === true;
    await queueRollout(tx, id, { by: asker.caller, despiteRehearsal });
    return auditAsked(tx, asker, {
      action: 'rollout.queue',
      resource: `rollout:${id}`,
      after: { behind: active.id, ...(despiteRehearsal && { despiteRehearsal }) },
    });
  }
  await begin(tx, rollout, asker);
}

function isStarted({ state, startedAt }: RolloutRecord): boolean {
  return state === 'running' || (state === 'awaiting_approval' && startedAt === null);
}

/** One word more than when it was queued is news. */
function isQueuedAlready(
  { queuedAt, queuedDespiteRehearsal }: RolloutRecord,
  { queue, despiteRehearsal }: StartRequest,
): boolean {
  return queue === true && queuedAt !== null && (despiteRehearsal !== true || queuedDespiteRehearsal);
}

async function begin(tx: Transaction, rollout: RolloutRecord, asker: StartRequest): Promise<void> {
  await refuseChangedSincePlan(tx, rollout, asker.caller);
  const upToDate = await isUpToDate(tx, rollout);
  if (!upToDate) await refuseUnhealthy(tx, rollout);
  if (!upToDate) await refuseBlocked(tx, rollout, asker.caller);
  if (!upToDate) await refuseFailingRehearsal(tx, rollout, asker);
  const waits = rollout.spec.approve && rollout.approvedAt === null;
  if (upToDate) await succeedAtOnce(tx, rollout);
  else await moveRollout(tx, rollout, waits ? 'submit' : 'start', null);
  auditAsked(tx, asker, {
    action: 'rollout.start',
    resource: `rollout:${rollout.id}`,
    after: {
      release: rollout.release,
      state: upToDate ? 'succeeded' : waits ? 'awaiting_approval' : 'running',
    },
  });
  if (!upToDate) await wake(tx, 'rollout', rollout.id);
}

async function isUpToDate(tx: Transaction, rollout: RolloutRecord): Promise<boolean> {
  const { release: name } = rollout;
  const release = await requireUsable(tx, name, await findRelease(tx, name));
  const counts = await countTargets(tx, rollout.id, null);
  if (counts.pending > 0) return false;
  // From here to the commit no tenant can come in at the old release.
  await lockMembership(tx, 'exclusive');
  const behind = await fleetMembers(tx, { behindOrdinal: release.headOrdinal });
  const left = await leftBehind(tx);
  return !behind.some((member) => isLive(member) && !left.has(member.databaseId));
}

async function succeedAtOnce(tx: Transaction, rollout: RolloutRecord): Promise<void> {
  for (const wave of await listWaves(tx, rollout.id)) {
    await moveWave(tx, rollout.id, wave, 'start');
    await moveWave(tx, rollout.id, { ...wave, state: 'running' }, 'pass');
  }
  await moveRollout(tx, rollout, 'succeed', null);
  await rememberPreviousRelease(tx, rollout.id);
  await setCurrentRelease(tx, rollout.release);
}

async function requireUsable(
  tx: Transaction,
  name: string,
  release: ReleaseRecord | undefined,
): Promise<ReleaseRecord> {
  if (release === undefined) throw await missingRelease(tx, name);
  const current = await currentRelease(tx);
  if (current !== undefined && release.headOrdinal < current.headOrdinal) {
    throw new FleetError({
      code: 'release_superseded',
      status: 409,
      message: `release ${name} is older than ${current.name}, which the fleet has already`,
      fix: 'publish a new release that brings the schema to where you want it',
    });
  }
  return release;
}
