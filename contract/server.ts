import { z } from 'zod';
import { Instant } from './page.ts';

export const RegionName = z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, 'lower-case letters, digits and dashes');

export const Region = z.object({
  name: z.string(),
  jurisdiction: z.string(),
  domain: z.string(),
  appUrl: z.string().nullable(),
  servers: z.number().int(),
  tenants: z.number().int(),
  createdAt: Instant,
});
export type Region = z.infer<typeof Region>;

export const CreateRegion = z.strictObject({
  name: RegionName,
  jurisdiction: z.string().min(1).max(100),
  domain: z.string().regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, 'a lower-case host name'),
  appUrl: z.url().optional(),
});
export type CreateRegion = z.infer<typeof CreateRegion>;

export const SERVER_STATES = ['provisioning', 'ready', 'cordoned', 'draining', 'retired'] as const;
export const ServerState = z.enum(SERVER_STATES);
export type ServerState = z.infer<typeof ServerState>;

export const ServerMode = z.enum(['shared', 'dedicated']);
export type ServerMode = z.infer<typeof ServerMode>;

export const ServerProvider = z.enum(['embedded', 'postgres', 'rds']);
export type ServerProvider = z.infer<typeof ServerProvider>;

/** Something of an instance on RDS that is not as the registry has it; null: it is not there. */
export const InstanceFinding = z.object({
  what: z.string(),
  wanted: z.string().nullable(),
  found: z.string().nullable(),
});
export type InstanceFinding = z.infer<typeof InstanceFinding>;

export const Server = z.object({
  id: z.uuid(),
  name: z.string(),
  region: z.string(),
  provider: ServerProvider,
  mode: ServerMode,
  state: ServerState,
  host: z.string(),
  port: z.number().int(),
  tls: z.enum(['disable', 'require', 'verify-full']),
  databases: z.number().int(),
  maxDatabases: z.number().int(),
  /** Sum of the connection limits that its databases reserve. */
  connections: z.number().int(),
  maxConnections: z.number().int(),
  serverVersion: z.number().int().nullable(),
  reachable: z.boolean(),
  /** Of an instance on RDS, null for all others. */
  instance: z
    .object({
      /** What RDS calls it. */
      identifier: z.string(),
      /** Made by somebody else: never deleted by the fleet. */
      adopted: z.boolean(),
      /** Stopped on purpose, with its tenant. */
      stopped: z.boolean(),
      /** What differed when RDS was last asked; null: it was not asked yet. */
      drift: z.array(InstanceFinding).nullable(),
      checkedAt: Instant.nullable(),
    })
    .nullable(),
  version: z.number().int(),
  createdAt: Instant,
});
export type Server = z.infer<typeof Server>;

const serverLimits = {
  mode: ServerMode.default('shared'),
  /** Absent: 1,000 on a shared server. A dedicated one holds one. */
  maxDatabases: z.number().int().min(1).max(100_000).optional(),
  /** An embedded server never has more than PostgreSQL itself allows there (`max_connections`). */
  maxConnections: z.number().int().min(1).max(100_000).default(10_000),
};

/** Registers a PostgreSQL server that exists. `url` carries the admin's password: body only, never a query. */
export const AddServer = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'lower-case letters, digits and dashes'),
  region: RegionName,
  url: z.string().min(1).max(2000),
  /** Of an instance on RDS: its name there. It must have the tag `fleet:region`. */
  instance: z.string().min(1).max(63).optional(),
  ...serverLimits,
});
export type AddServer = z.infer<typeof AddServer>;

/** What an instance on RDS shall be; what is left open comes from the region's site (FLEET_RDS_SITES). */
export const RdsWanted = z.strictObject({
  instanceClass: z
    .string()
    .regex(/^db\.[a-z0-9-]+\.[a-z0-9]+$/, 'a class of RDS, such as db.r7g.large')
    .optional(),
  /** GiB. It grows by itself to four times that. */
  storageGib: z.number().int().min(20).max(65_536).optional(),
  /** A standby in another zone; on unless it is switched off. */
  multiAz: z.boolean().optional(),
  engineVersion: z
    .string()
    .regex(/^\d{2}(\.\d{1,2})?$/, 'a version of PostgreSQL, such as 18 or 18.1')
    .optional(),
  /** Days that one can go back to; 14 unless told otherwise. */
  backupDays: z.number().int().min(1).max(35).optional(),
  deletionProtection: z.boolean().optional(),
  /** Another key than the region's, in the same region of AWS. */
  kmsKey: z.string().startsWith('arn:').optional(),
});
export type RdsWanted = z.infer<typeof RdsWanted>;

/** What of an instance on RDS can be changed while it lives. */
export const ModifyServer = RdsWanted.omit({ kmsKey: true }).refine((body) => Object.keys(body).length > 0, {
  message: 'say what to change',
});
export type ModifyServer = z.infer<typeof ModifyServer>;

/** Makes a new server with a provider that can: `embedded` on a developer's machine, `rds` on AWS. */
export const CreateServer = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'lower-case letters, digits and dashes'),
  region: RegionName,
  provider: z.enum(['embedded', 'rds']),
  rds: RdsWanted.optional(),
  ...serverLimits,
});
export type CreateServer = z.infer<typeof CreateServer>;

export const ServerFilter = z.object({ region: z.string().optional(), state: ServerState.optional() });

/** What RDS calls the snapshot that is being taken. */
export const ServerSnapshot = z.object({ server: z.string(), snapshot: z.string() });
export type ServerSnapshot = z.infer<typeof ServerSnapshot>;

/** An instance on RDS that is not as the registry has it; without a server nobody in the fleet knows it. */
export const InstanceDrift = z.object({
  region: z.string(),
  server: z.string().nullable(),
  instance: z.string(),
  findings: z.array(InstanceFinding),
});
export type InstanceDrift = z.infer<typeof InstanceDrift>;

export const InstanceDrifts = z.object({ items: z.array(InstanceDrift) });
