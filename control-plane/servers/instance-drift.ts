import type { InstanceDrift, InstanceFinding } from '../../contract/server.ts';
import { summarizeError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import type { Queryable } from '../../platform/pg.ts';
import {
  SERVER_TAG,
  conditionOf,
  tagsOf,
  type Instance,
  type InstanceSpec,
} from './providers/rds/instance.ts';
import type { RdsDeps } from './providers/rds.ts';
import type { Rds } from './providers/rds/rds.ts';
import { listInstances, setDrift, type LiveInstance } from './providers/rds/store.ts';

/** What is compared, with the word that a person knows it by. Storage grows by itself, versions by themselves too. */
const COMPARED: [keyof InstanceSpec, string][] = [
  ['instanceClass', 'class'],
  ['multiAz', 'Multi-AZ'],
  ['backupDays', 'days of backups'],
  ['deletionProtection', 'deletion protection'],
  ['subnetGroup', 'subnet group'],
  ['parameterGroup', 'parameter group'],
  ['securityGroups', 'security groups'],
  ['kmsKey', 'KMS key'],
];

/** What differs between the registry and RDS. Pure. */
export function findingsOf(
  fleet: string,
  wanted: LiveInstance,
  found: Instance | undefined,
): InstanceFinding[] {
  if (found === undefined) return [{ what: 'instance', wanted: wanted.identifier, found: null }];
  const differences = COMPARED.map(([key, what]) => differing(what, wanted.spec[key], found.spec[key]));
  const tags = Object.entries(tagsOf(fleet, wanted)).map(([tag, value]) =>
    differing(`tag ${tag}`, value, found.tags[tag] ?? null),
  );
  return [
    ...differences,
    ...tags,
    statusOf(wanted, found),
    storageOf(wanted.spec, found.spec),
    engineOf(wanted.spec, found.spec),
  ].filter((finding) => finding !== undefined);
}

type Value = string | number | boolean | string[] | null;

function differing(what: string, wanted: Value, found: Value): InstanceFinding | undefined {
  const [left, right] = [text(wanted), text(found)];
  return left === right ? undefined : { what, wanted: left, found: right };
}

function text(value: Value): string | null {
  if (Array.isArray(value)) return [...value].sort().join(', ');
  return value === null ? null : String(value);
}

/** RDS starts again by itself what was stopped for seven days. */
function statusOf({ stopped }: LiveInstance, { status }: Instance): InstanceFinding | undefined {
  const condition = conditionOf(status);
  if (condition === 'under-way') return undefined;
  const wanted = stopped ? 'stopped' : 'usable';
  return condition === wanted
    ? undefined
    : { what: 'status', wanted: stopped ? 'stopped' : 'available', found: status };
}

function storageOf(wanted: InstanceSpec, found: InstanceSpec): InstanceFinding | undefined {
  if (found.storageGib >= wanted.storageGib) return undefined;
  return differing('GiB of storage', wanted.storageGib, found.storageGib);
}

/** `18` is content with every 18.x, `18.1` with 18.1 alone or what RDS has patched it to. */
function engineOf(wanted: InstanceSpec, found: InstanceSpec): InstanceFinding | undefined {
  const major = (version: string) => version.split('.')[0] ?? '';
  return differing('major version of PostgreSQL', major(wanted.engineVersion), major(found.engineVersion));
}

/**
 * Compares every instance of the fleet with RDS and stores what differs; answers that, and the instances that carry
 * the fleet's tags and belong to no server. A region that cannot be asked is told as a finding.
 */
export async function checkInstances(db: Queryable, rds: Rds | undefined): Promise<InstanceDrift[]> {
  if (rds === undefined) return [];
  const known = await listInstances(db);
  const drifts: InstanceDrift[] = [];
  for (const region of rds.regions) {
    const here = known.filter((instance) => instance.region === region);
    drifts.push(...(await checkRegion(rds, region, here)));
  }
  const findings = (name: string) => drifts.find(({ server }) => server === name)?.findings ?? [];
  await setDrift(
    db,
    known.map(({ serverId, server }) => ({ serverId, drift: findings(server) })),
  );
  return drifts;
}

/** The same from time to time, for whoever reads the log and `fleet server get`. */
export async function watchInstances(
  deps: Pick<RdsDeps, 'registry' | 'rds'> & { logger: Logger },
): Promise<void> {
  for (const { instance, findings } of await checkInstances(deps.registry, deps.rds)) {
    deps.logger.warn('an instance is not in RDS what it is in the registry', { instance, findings });
  }
}

async function checkRegion(rds: Rds, region: string, known: LiveInstance[]): Promise<InstanceDrift[]> {
  let there: Instance[];
  try {
    there = await rds.instances.list(region);
  } catch (error) {
    const finding = { what: 'RDS', wanted: 'an answer', found: summarizeError(error).message };
    return known.map(({ server, identifier }) => ({
      region,
      server,
      instance: identifier,
      findings: [finding],
    }));
  }
  const settled = known.filter(({ state }) => state === 'ready' || state === 'cordoned');
  const compared = settled.map((wanted) => ({
    ...{ region, server: wanted.server, instance: wanted.identifier },
    findings: findingsOf(
      rds.fleet,
      wanted,
      there.find(({ identifier }) => identifier === wanted.identifier),
    ),
  }));
  return [
    ...compared.filter(({ findings }) => findings.length > 0),
    ...strays(rds.fleet, region, known, there),
  ];
}

/** Somebody pays for it, and nobody uses it: made by an older registry, or left behind. */
function strays(fleet: string, region: string, known: LiveInstance[], there: Instance[]): InstanceDrift[] {
  return there
    .filter(
      ({ tags }) =>
        tags['fleet:fleet'] === fleet && tags['fleet:region'] === region && tags[SERVER_TAG] !== undefined,
    )
    .filter(({ identifier }) => !known.some((instance) => instance.identifier === identifier))
    .map(({ identifier: instance, status }) => ({
      ...{ region, server: null, instance },
      findings: [{ what: 'server', wanted: null, found: status }],
    }));
}
