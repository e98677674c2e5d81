import { durationSeconds } from '../../../contract/duration.ts';
import { WaveSpec, type Budget, type RolloutSpec } from '../../../contract/rollout.ts';
import type { Calendar } from './calendar.ts';
import { isNamed, matches } from './match.ts';
import { orderTargets } from './order.ts';

/** A tenant with a ready database that lacks migrations of the release. */
export interface Member {
  tenantId: string;
  slug: string;
  region: string;
  tier: string;
  labels: Record<string, string>;
  tenantState: string;
  databaseId: string;
  serverId: string;
  serverName: string;
  schemaVersion: string | null;
}

export interface PlannedTarget {
  tenantId: string;
  databaseId: string;
  serverId: string;
  state: 'pending' | 'deferred' | 'skipped';
  reason: string | null;
  /** When a target that is outside its window runs. */
  notBefore: Date | null;
  /** Who left it behind in an earlier rollout. */
  skippedBy: string | null;
  /** Names of the migrations that it lacks, in order. */
  missing: string[];
}

export interface PlannedWave {
  name: string;
  parallel: number;
  perServer: number;
  budget: Budget;
  bakeSeconds: number;
  /** Ordinals of the waves that must have passed. */
  dependsOn: number[];
  regions: WaveSpec['regions'];
  gates: string[];
  approve: boolean;
  targets: PlannedTarget[];
}

/** A tenant that a person has left behind: it is passed by until a rollout names it. */
export interface LeftBehind {
  by: string;
  reason: string;
}

/** What a plan is made of besides the spec. */
export interface PlanInput {
  migrations: readonly { name: string }[];
  members: readonly Member[];
  calendar?: Calendar | undefined;
  /** By database. */
  left?: ReadonlyMap<string, LeftBehind> | undefined;
  now: Date;
}

/** What runs when the spec names no waves. */
const WHOLE_FLEET: WaveSpec = WaveSpec.parse({ name: 'all' });
const REST = 'rest';

/**
 * Decides which target goes in which wave. A tenant goes in the first wave that takes it, in the wave's order of
 * regions and slugs. Tenants that no wave takes get a last wave of their own, `rest`: a rollout has succeeded only
 * when no live tenant is behind. Suspended and moving tenants are no use as canaries: they count for no wave's
 * `count` or `percent`, and wait as deferred in the last wave. So do those that a person has left behind, unless a
 * wave names them: they are shown as skipped.
 */
export function planWaves(spec: Pick<RolloutSpec, 'waves'>, input: PlanInput): PlannedWave[] {
  const bySlug = orderTargets(input.members, { regions: 'sequence' });
  const specs = spec.waves ?? [WHOLE_FLEET];
  const isLeft = (member: Member): boolean =>
    input.left?.has(member.databaseId) === true &&
    !specs.some((wave) => isNamed(wave.match, member) === true);
  let left = bySlug.filter((member) => isLive(member) && !isLeft(member));
  const waves = specs.map((wave, ordinal) => {
    const taken = new Set(select(wave, left));
    left = left.filter((member) => !taken.has(member));
    return planWave(wave, dependenciesOf(wave, ordinal, specs), [...taken], input);
  });
  if (left.length > 0) {
    const last = { ...WHOLE_FLEET, name: restName(waves) };
    // The rest comes after everything: a wave that runs beside others is not the last that is waited for.
    waves.push(planWave(last, [...waves.keys()], left, input));
  }
  const passedBy = bySlug.filter((member) => deferral(member) !== null || (isLive(member) && isLeft(member)));
  waves
    .at(-1)
    ?.targets.push(
      ...passedBy.map((member) => (isLeft(member) ? leftTarget(member, input) : planTarget(member, input))),
    );
  return waves;
}

/** The waves that must have passed before this one: those that it names, else the one before. */
function dependenciesOf(wave: WaveSpec, ordinal: number, waves: readonly WaveSpec[]): number[] {
  if (wave.dependsOn === undefined) return ordinal === 0 ? [] : [ordinal - 1];
  return wave.dependsOn.map((name) => waves.findIndex((other) => other.name === name));
}

function restName(waves: readonly PlannedWave[]): string {
  const taken = new Set(waves.map((wave) => wave.name));
  let name = REST;
  for (let number = 2; taken.has(name); number += 1) name = `${REST}-${number}`;
  return name;
}

/** `count` and `percent` both bound the wave; a share is rounded up, so that none is left by rounding. */
function select(wave: WaveSpec, left: readonly Member[]): Member[] {
  const matching = orderTargets(
    left.filter((member) => matches(wave.match, member)),
    wave,
  );
  const share = Math.ceil(matching.length * ((wave.percent ?? 100) / 100) - ROUNDING);
  const wanted = Math.max(share, Math.min(1, matching.length));
  return matching.slice(0, Math.min(wanted, wave.count ?? matching.length));
}

/** 7 % of 100 is 7.000000000000001 in binary: far below one target, far above the error of a product. */
const ROUNDING = 1e-6;

function planWave(
  wave: WaveSpec,
  dependsOn: number[],
  members: readonly Member[],
  input: PlanInput,
): PlannedWave {
  return {
    name: wave.name,
    parallel: wave.parallel,
    perServer: wave.perServer,
    budget: wave.budget,
    bakeSeconds: durationSeconds(wave.bake),
    dependsOn,
    regions: wave.regions,
    gates: wave.gates ?? [],
    approve: wave.approve,
    targets: members.map((member) => planTarget(member, input)),
  };
}

/** One target; also used for tenants that join later. */
export function planTarget(
  member: Member,
  { migrations, calendar, now }: Pick<PlanInput, 'migrations' | 'calendar' | 'now'>,
): PlannedTarget {
  const names = migrations.map((migration) => migration.name);
  const { tenantId, databaseId, serverId, schemaVersion } = member;
  const base = {
    tenantId,
    databaseId,
    serverId,
    skippedBy: null,
    missing: missingFrom(schemaVersion, names),
  };
  const away = deferral(member);
  if (away !== null) return { ...base, state: 'deferred', reason: away, notBefore: null };
  const opening = calendar?.at(member, now) ?? { open: true };
  if (opening.open) return { ...base, state: 'pending', reason: null, notBefore: null };
  return { ...base, state: 'deferred', reason: opening.reason, notBefore: opening.at };
}

function leftTarget(member: Member, input: PlanInput): PlannedTarget {
  const left = input.left?.get(member.databaseId);
  const target = planTarget(member, { ...input, calendar: undefined });
  return { ...target, state: 'skipped', reason: left?.reason ?? null, skippedBy: left?.by ?? null };
}

/** Whether the tenant is to be migrated now; one that is leaving the fleet is not. */
export function isLive(member: Pick<Member, 'tenantState'>): boolean {
  return member.tenantState === 'active';
}

/** Why the tenant has to wait, or null. It is migrated when it comes back, before it gets traffic. */
export function deferral(member: Pick<Member, 'tenantState'>): string | null {
  return member.tenantState === 'suspended' || member.tenantState === 'moving' ? member.tenantState : null;
}

function missingFrom(schemaVersion: string | null, names: readonly string[]): string[] {
  return schemaVersion === null ? [...names] : names.slice(names.indexOf(schemaVersion) + 1);
}
