import { WaveSpec, type Budget, type Match, type RolloutSpec } from '../../contract/rollout.ts';

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
  state: 'pending' | 'deferred';
  reason: string | null;
  /** Names of the migrations that it lacks, in order. */
  missing: string[];
}

/** A wave's failure budget as it is stored: exactly one of the two is given. */
export interface WaveBudget {
  failures: number | null;
  percent: number | null;
}

export interface PlannedWave {
  name: string;
  parallel: number;
  perServer: number;
  budget: WaveBudget;
  bakeSeconds: number;
  targets: PlannedTarget[];
}

/** What runs when the spec names no waves. */
const WHOLE_FLEET: WaveSpec = WaveSpec.parse({ name: 'all' });
const REST = 'rest';
const SECONDS = { s: 1, m: 60, h: 3600 };

/**
 * Decides which target goes in which wave. A tenant goes in the first wave that takes it, by slug. Tenants that no
 * wave takes get a last wave of their own, `rest`: a rollout has succeeded only when no live tenant is behind.
 * Suspended and moving tenants are no use as canaries: they count for no wave's `count` or `percent`, and wait
 * as deferred in the last wave.
 */
export function planWaves(
  spec: Pick<RolloutSpec, 'waves'>,
  migrations: readonly { name: string }[],
  members: readonly Member[],
): PlannedWave[] {
  const ordered = [...members].sort(bySlug);
  const names = migrations.map((migration) => migration.name);
  let left = ordered.filter(isLive);
  const waves = (spec.waves ?? [WHOLE_FLEET]).map((wave) => {
    const taken = new Set(select(wave, left));
    const planned = planWave(wave, [...taken], names);
    left = left.filter((member) => !taken.has(member));
    return planned;
  });
  if (left.length > 0) waves.push(planWave({ ...WHOLE_FLEET, name: restName(waves) }, left, names));
  const deferred = ordered.filter((member) => deferral(member) !== null);
  waves.at(-1)?.targets.push(...deferred.map((member) => planTarget(member, names)));
  return waves;
}

/** Plain comparison, not a locale's: the order must be the same on every machine. */
function bySlug(a: Member, b: Member): number {
  return a.slug < b.slug ? -1 : a.slug > b.slug ? 1 : 0;
}

function restName(waves: readonly PlannedWave[]): string {
  const taken = new Set(waves.map((wave) => wave.name));
  let name = REST;
  for (let number = 2; taken.has(name); number += 1) name = `${REST}-${number}`;
  return name;
}

/** `count` and `percent` both bound the wave; a share is rounded up, so that none is left by rounding. */
function select(wave: WaveSpec, left: readonly Member[]): Member[] {
  const matching = left.filter((member) => matches(wave.match, member));
  const share = Math.ceil(matching.length * ((wave.percent ?? 100) / 100) - ROUNDING);
  const wanted = Math.max(share, Math.min(1, matching.length));
  return matching.slice(0, Math.min(wanted, wave.count ?? matching.length));
}

/** 7 % of 100 is 7.000000000000001 in binary: far below one target, far above the error of a product. */
const ROUNDING = 1e-6;

function matches(match: Match | undefined, member: Member): boolean {
  if (match === undefined) return true;
  return (
    oneOf(match.region, member.region) &&
    oneOf(match.tier, member.tier) &&
    oneOf(match.server, member.serverName) &&
    (match.tenants === undefined ||
      match.tenants.some((name) => name === member.slug || name === member.tenantId)) &&
    Object.entries(match.labels ?? {}).every(([key, value]) => member.labels[key] === value)
  );
}

function oneOf(wanted: string | readonly string[] | undefined, value: string): boolean {
  if (wanted === undefined) return true;
  return typeof wanted === 'string' ? wanted === value : wanted.includes(value);
}

function planWave(wave: WaveSpec, members: readonly Member[], names: readonly string[]): PlannedWave {
  return {
    name: wave.name,
    parallel: wave.parallel,
    perServer: wave.perServer,
    budget: parseBudget(wave.budget),
    bakeSeconds: parseSeconds(wave.bake),
    targets: members.map((member) => planTarget(member, names)),
  };
}

/** One target; also used for tenants that join later. */
export function planTarget(member: Member, names: readonly string[]): PlannedTarget {
  const reason = deferral(member);
  return {
    tenantId: member.tenantId,
    databaseId: member.databaseId,
    serverId: member.serverId,
    state: reason === null ? 'pending' : 'deferred',
    reason,
    missing: missingFrom(member.schemaVersion, names),
  };
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

function parseBudget(budget: Budget): WaveBudget {
  return typeof budget.failures === 'number'
    ? { failures: budget.failures, percent: null }
    : { failures: null, percent: Number(budget.failures.slice(0, -1)) };
}

/** Failed targets that a wave of `total` bears; one more halts. A share is rounded down: 1 % of 50 bears none. */
export function allowedFailures(budget: WaveBudget, total: number): number {
  if (budget.failures !== null) return budget.failures;
  return Math.floor((total * (budget.percent ?? 0)) / 100 + ROUNDING);
}

/** Seconds of `30s`, `10m`, `2h`; 0 when absent. */
function parseSeconds(duration: string | undefined): number {
  if (duration === undefined) return 0;
  const unit = duration.slice(-1);
  return Number(duration.slice(0, -1)) * (unit === 'h' || unit === 'm' ? SECONDS[unit] : SECONDS.s);
}
