import { randomUUID } from 'node:crypto';
import type { NothingToPlan, RolloutSpec } from '../../contract/rollout.ts';
import { FleetError } from '../../platform/errors.ts';
import { requireRegion, type Asker } from '../access/caller.ts';
import { auditAsked } from '../audit/audit.ts';
import { requireVersion } from '../http/conflict.ts';
import { wake } from '../operations/driver.ts';
import type { Transaction } from '../registry/registry.ts';
import { currentRelease, findRelease, listMigrations, setCurrentRelease } from '../releases/store.ts';
import { fleetMembers, lockMembership } from '../tenants/store.ts';
import { isLive, planWaves } from './plan.ts';
import { rolloutInWrongState, rolloutNotFound } from './rollout.ts';
import {
  insertRollout,
  listWaves,
  lockActiveRollout,
  lockRollout,
  moveRollout,
  moveWave,
  type RolloutRecord,
} from './store.ts';
import { countTargets, targetRegions } from './target-store.ts';

/**
 * Freezes the plan of a rollout: which databases, in which wave, lacking what. Nothing runs yet.
 * @throws FleetError 404 `release_not_found`, 409 `release_superseded`, 404 `tenant_not_found`, 403 `region_forbidden`
 */
export async function planRollout(tx: Transaction, spec: RolloutSpec, asker: Asker): Promise<string> {
  const release = await requireRelease(tx, spec.release);
  await refuseUnknownTenants(tx, spec);
  const members = await fleetMembers(tx, { behindOrdinal: release.headOrdinal });
  for (const member of members) requireRegion(asker.caller, member.region);
  const waves = planWaves(spec, await listMigrations(tx, release.headOrdinal), members);
  const id = randomUUID();
  await insertRollout(tx, { id, spec, author: asker.caller.name, waves });
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

/** What to answer in place of a plan that would hold no database; undefined when there is something to plan. */
export async function nothingToPlan(tx: Transaction, spec: RolloutSpec): Promise<NothingToPlan | undefined> {
  const release = await requireRelease(tx, spec.release);
  await refuseUnknownTenants(tx, spec);
  const members = await fleetMembers(tx, { behindOrdinal: release.headOrdinal });
  if (planWaves(spec, [], members).some((wave) => wave.targets.length > 0)) return undefined;
  const current = await currentRelease(tx);
  return { release: release.name, nothingToDo: true, current: current?.name === release.name };
}

/**
 * Starts a planned rollout. Where every live tenant is at the release already it has succeeded at once, and no
 * database is visited: the registry's record decides.
 * @throws FleetError 404 `rollout_not_found`, 409 `rollout_active`, 409 `wrong_state`
 */
export async function startRollout(tx: Transaction, id: string, asker: Asker): Promise<void> {
  const active = await lockActiveRollout(tx);
  const rollout = await lockRollout(tx, id);
  if (rollout === undefined) throw rolloutNotFound(id);
  if (rollout.state === 'running') return;
  requireVersion({ noun: 'rollout', name: id, version: rollout.version }, asker.ifMatch);
  if (rollout.state !== 'planned') throw rolloutInWrongState(rollout, 'start');
  if (active !== undefined) throw alreadyActive(active);
  for (const region of await targetRegions(tx, id)) requireRegion(asker.caller, region);
  const upToDate = await isUpToDate(tx, rollout);
  if (upToDate) await succeedAtOnce(tx, rollout);
  else await moveRollout(tx, rollout, 'start', null);
  auditAsked(tx, asker, {
    action: 'rollout.start',
    resource: `rollout:${id}`,
    after: { release: rollout.release, state: upToDate ? 'succeeded' : 'running' },
  });
  if (!upToDate) await wake(tx, 'rollout', id);
}

async function isUpToDate(tx: Transaction, rollout: RolloutRecord): Promise<boolean> {
  const release = await requireRelease(tx, rollout.release);
  if ((await countTargets(tx, rollout.id, null)).pending > 0) return false;
  // From here to the commit no tenant can come in at the old release.
  await lockMembership(tx, 'exclusive');
  const behind = await fleetMembers(tx, { behindOrdinal: release.headOrdinal });
  return !behind.some(isLive);
}

async function succeedAtOnce(tx: Transaction, rollout: RolloutRecord): Promise<void> {
  for (const wave of await listWaves(tx, rollout.id)) {
    await moveWave(tx, rollout.id, wave, 'start');
    await moveWave(tx, rollout.id, { ...wave, state: 'running' }, 'pass');
  }
  await moveRollout(tx, rollout, 'succeed', null);
  await setCurrentRelease(tx, rollout.release);
}

async function requireRelease(tx: Transaction, name: string) {
  const release = await findRelease(tx, name);
  if (release === undefined) {
    throw new FleetError({
      code: 'release_not_found',
      status: 404,
      message: `there is no release ${name}`,
      fix: 'fleet release list',
    });
  }
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

/** A mistyped name would make an empty canary wave, and let the release pass on unproved. */
async function refuseUnknownTenants(tx: Transaction, spec: RolloutSpec): Promise<void> {
  const named = (spec.waves ?? []).flatMap((wave, index) =>
    (wave.match?.tenants ?? []).map((name) => ({ name, path: `waves.${index}.match.tenants` })),
  );
  if (named.length === 0) return;
  const known = new Set((await fleetMembers(tx, {})).flatMap((member) => [member.slug, member.tenantId]));
  const unknown = named.filter(({ name }) => !known.has(name));
  if (unknown.length === 0) return;
  throw new FleetError({
    code: 'tenant_not_found',
    status: 404,
    message: `the waves name tenants that the fleet does not have: ${unknown.map(({ name }) => name).join(', ')}`,
    fix: 'fleet tenant list',
    errors: unknown.map(({ name, path }) => ({ path, message: `there is no live tenant ${name}` })),
  });
}

function alreadyActive(active: RolloutRecord): FleetError {
  return new FleetError({
    code: 'rollout_active',
    status: 409,
    message: `rollout ${active.id} of release ${active.release} is ${active.state}; the fleet has one at a time`,
    fix: `wait for it, or end it: fleet rollout abort ${active.id}`,
  });
}
