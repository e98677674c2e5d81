import type { Match } from '../../../contract/rollout.ts';

/** What a match looks at. */
export interface Matched {
  tenantId: string;
  slug: string;
  region: string;
  tier: string;
  labels: Record<string, string>;
  serverName: string;
}

/** Whether all conditions that are given hold; none given takes everything. */
export function matches(match: Match | undefined, target: Matched): boolean {
  if (match === undefined) return true;
  return (
    oneOf(match.region, target.region) &&
    oneOf(match.tier, target.tier) &&
    oneOf(match.server, target.serverName) &&
    isNamed(match, target) !== false &&
    Object.entries(match.labels ?? {}).every(([key, value]) => target.labels[key] === value)
  );
}

/** Whether the match names the tenant itself; undefined where it names none. */
export function isNamed(
  match: Match | undefined,
  target: Pick<Matched, 'slug' | 'tenantId'>,
): boolean | undefined {
  return match?.tenants?.some((name) => name === target.slug || name === target.tenantId);
}

function oneOf(wanted: string | readonly string[] | undefined, value: string): boolean {
  if (wanted === undefined) return true;
  return typeof wanted === 'string' ? wanted === value : wanted.includes(value);
}
