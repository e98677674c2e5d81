import type { Match, RolloutSpec } from '../../../contract/rollout.ts';
import { FleetError, type FieldError } from '../../../platform/errors.ts';
import type { Transaction } from '../../registry/registry.ts';
import { findRegion } from '../../servers/region-store.ts';
import { findServer } from '../../servers/store.ts';
import { fleetMembers, type FleetMember } from '../../tenants/store.ts';
import { matches } from './match.ts';
import { isLive } from './plan.ts';

/**
 * Refuses waves that a mistyped name or label leaves empty: an empty canary proves nothing, and the release would go
 * on to everyone. Tenants that are up to date count as well; a fleet without tenants has nobody to prove it on.
 * @throws FleetError 404 `tenant_not_found`, `region_not_found`, `server_not_found`; 409 `wave_matches_nobody`
 */
export async function refuseUnmatched(tx: Transaction, spec: RolloutSpec): Promise<void> {
  const waves = spec.waves ?? [];
  if (waves.every((wave) => wave.match === undefined)) return;
  const members = await fleetMembers(tx, {});
  await refuseUnknownNames(tx, waves, members);
  const live = members.filter(isLive);
  if (live.length === 0) return;
  const empty = waves.flatMap((wave, index) =>
    wave.mayBeEmpty || live.some((member) => matches(wave.match, member)) ? [] : [{ wave, index }],
  );
  if (empty.length === 0) return;
  const names = empty.map(({ wave }) => wave.name).join(', ');
  throw new FleetError({
    code: 'wave_matches_nobody',
    status: 409,
    message: `no active tenant fits the match of wave ${names}: it would prove nothing before the release goes on`,
    fix: 'correct the match (fleet tenant list), or write mayBeEmpty: true in the wave where that is meant',
    errors: empty.map(({ wave, index }) => ({
      path: `waves.${index}.match`,
      message: `no active tenant of the fleet fits it, so that wave ${wave.name} is empty`,
    })),
  });
}

interface Noun {
  key: 'tenants' | 'region' | 'server';
  noun: string;
  fix: string;
  /** What a member answers to. */
  namesOf: (member: FleetMember) => string[];
  /** Whether there is one all the same, of which no tenant is a member. */
  exists: (tx: Transaction, name: string) => Promise<boolean>;
}

const NOUNS: readonly Noun[] = [
  {
    ...{ key: 'tenants', noun: 'tenant', fix: 'fleet tenant list' },
    namesOf: ({ slug, tenantId }) => [slug, tenantId],
    exists: () => Promise.resolve(false),
  },
  {
    ...{ key: 'region', noun: 'region', fix: 'fleet region list' },
    namesOf: ({ region }) => [region],
    exists: async (tx, name) => (await findRegion(tx, name)) !== undefined,
  },
  {
    ...{ key: 'server', noun: 'server', fix: 'fleet server list' },
    namesOf: ({ serverName }) => [serverName],
    exists: async (tx, name) => (await findServer(tx, name)) !== undefined,
  },
];

async function refuseUnknownNames(
  tx: Transaction,
  waves: readonly { match?: Match | undefined }[],
  members: readonly FleetMember[],
): Promise<void> {
  for (const { key, noun, fix, namesOf, exists } of NOUNS) {
    const known = new Set(members.flatMap(namesOf));
    const errors: (FieldError & { name: string })[] = [];
    for (const [index, { match }] of waves.entries()) {
      for (const name of [match?.[key] ?? []].flat()) {
        if (known.has(name) || (await exists(tx, name))) continue;
        const message = `there is no ${noun === 'tenant' ? 'live tenant' : noun} ${name}`;
        errors.push({ name, path: `waves.${index}.match.${key}`, message });
      }
    }
    if (errors.length === 0) continue;
    throw new FleetError({
      code: `${noun}_not_found`,
      status: 404,
      message: `the waves name ${noun}s that the fleet does not have: ${errors.map(({ name }) => name).join(', ')}`,
      fix,
      errors: errors.map(({ path, message }) => ({ path, message })),
    });
  }
}
