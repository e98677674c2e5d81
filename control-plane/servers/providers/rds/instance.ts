import { z } from 'zod';
import type { RdsWanted } from '../../../../contract/server.ts';
import type { RdsSite } from '../../../../platform/config.ts';
import { awsTags } from '../../../../platform/aws/names.ts';
import { FleetError } from '../../../../platform/errors.ts';

/** What an instance on RDS shall be, in full: what RDS has otherwise is drift. Never a secret. */
export const InstanceSpec = z.object({
  engineVersion: z.string(),
  instanceClass: z.string(),
  storageGib: z.number().int(),
  multiAz: z.boolean(),
  backupDays: z.number().int(),
  deletionProtection: z.boolean(),
  subnetGroup: z.string(),
  parameterGroup: z.string(),
  securityGroups: z.array(z.string()),
  kmsKey: z.string(),
});
export type InstanceSpec = z.infer<typeof InstanceSpec>;

/** An instance as RDS tells of it. */
export interface Instance {
  identifier: string;
  arn: string;
  /** `DBInstanceStatus`, e.g. `available`. */
  status: string;
  /** Undefined until RDS has given it an address. */
  host: string | undefined;
  port: number;
  /** GiB that storage may grow to by itself. */
  maxStorageGib: number;
  masterUser: string;
  tags: Record<string, string>;
  spec: InstanceSpec;
}

/** Login that RDS makes with an instance; the fleet administers it as this one. */
export const MASTER_USER = 'fleet_master';
/** What every instance has besides the databases of tenants. */
export const MASTER_DATABASE = 'postgres';
export const RDS_PORT = 5432;

/** Two weeks: a fault that is found after a holiday can still be gone back behind. */
const BACKUP_DAYS = 14;

/** What the request leaves open comes from the region's site. */
export function specOf(site: RdsSite, wanted: RdsWanted): InstanceSpec {
  const { subnetGroup, parameterGroup, securityGroups } = site;
  return {
    engineVersion: wanted.engineVersion ?? site.engineVersion,
    instanceClass: wanted.instanceClass ?? site.instanceClass,
    storageGib: wanted.storageGib ?? site.storageGib,
    multiAz: wanted.multiAz ?? true,
    backupDays: wanted.backupDays ?? BACKUP_DAYS,
    deletionProtection: wanted.deletionProtection ?? true,
    kmsKey: wanted.kmsKey ?? site.kmsKey,
    ...{ subnetGroup, parameterGroup, securityGroups },
  };
}

/** RDS takes 63 letters, digits and single hyphens that do not stand at the end. */
const IDENTIFIER = /^[a-z](?!.*--)[a-z0-9-]{0,61}[a-z0-9]$/;

/** What a server is called in RDS. @throws FleetError 422 `bad_instance_name` */
export function identifierOf(fleet: string, server: string): string {
  const identifier = `${fleet}-${server}`;
  if (IDENTIFIER.test(identifier)) return identifier;
  throw new FleetError({
    code: 'bad_instance_name',
    status: 422,
    message: `RDS does not take ${identifier} as the name of an instance`,
    fix: 'choose a name of single dashes, letters and digits; with the fleet before it, 63 at most',
  });
}

/** Proves whose server an instance is: without it, it is somebody else's. */
export const SERVER_TAG = 'fleet:server';

/** What the tag `fleet:component` says of all servers for tenants' databases. */
const COMPONENT = 'database';

/** For costs by region and tenant, and to find the instance again. */
export function tagsOf(
  fleet: string,
  server: { region: string; serverId: string; tenantId?: string | null | undefined },
): Record<string, string> {
  const { region, serverId, tenantId } = server;
  const about = [`server:${serverId}`, ...(typeof tenantId === 'string' ? [`tenant:${tenantId}`] : [])];
  return awsTags(fleet, region, COMPONENT, about);
}

/** @throws FleetError 409 `instance_name_taken` when it lacks the server's tag */
export function requireOurs(instance: Instance, serverId: string): void {
  if (instance.tags[SERVER_TAG] === serverId) return;
  throw new FleetError({
    code: 'instance_name_taken',
    status: 409,
    message: `there is an instance ${instance.identifier} on RDS that was not made for this server`,
    fix: `choose another name; to take that instance into the fleet: fleet server add NAME --instance ${instance.identifier}`,
  });
}

/** Takes connections, whatever RDS does beside that. */
const USABLE = /^(available|backing-up|storage-optimization|storage-initialization|configuring-.*)$/;

export type Condition = 'usable' | 'stopped' | 'deleting' | 'broken' | 'under-way';

/** What a status means to whoever waits. Pure; what RDS may invent counts as under way. */
export function conditionOf(status: string): Condition {
  if (USABLE.test(status)) return 'usable';
  if (status === 'stopped' || status === 'deleting') return status;
  return cureOf(status) === undefined ? 'under-way' : 'broken';
}

/** Of statuses that do not pass by themselves: what helps. */
const CURES: [RegExp, string][] = [
  [/^storage-full$/, 'give it more storage in RDS (modify, apply immediately), then try again'],
  [
    /^inaccessible-encryption-credentials/,
    'enable its KMS key and allow its use, start it in RDS, then try again',
  ],
  [/^incompatible-parameters$/, 'correct its parameter group, reboot it in RDS, then try again'],
  [
    /^incompatible-(network|option-group|credentials|restore|create)$/,
    'read its events in RDS, mend or delete it there, then try again',
  ],
  [/^insufficient-capacity$/, 'choose another class: RDS has none of this one in the zone'],
  [/^(failed|restore-error)$/, 'read its events in RDS; it cannot be mended, only deleted or restored'],
];

function cureOf(status: string): string | undefined {
  return CURES.find(([pattern]) => pattern.test(status))?.[1];
}

/** @returns 502 `instance_broken`, with what helps */
export function brokenInstance({ identifier, status }: Instance): FleetError {
  return new FleetError({
    code: 'instance_broken',
    status: 502,
    message: `instance ${identifier} is ${status} in RDS, which does not pass by itself`,
    fix: cureOf(status),
  });
}
