import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { FleetError } from './errors.ts';

const HIGHEST_PORT = 65_535;

/** What KMS allows; the same for local keys, so that a fleet may change from one to the other. */
const LEAST_RETENTION_DAYS = 7;
const MOST_RETENTION_DAYS = 30;

/** Text only: what is given is told back as it was written. */
const Port = z.string().transform((text, context) => {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= HIGHEST_PORT) return port;
  context.addIssue(`a port from 0 to ${HIGHEST_PORT}, not "${text}"`);
  return z.NEVER;
});

/** A region of the fleet, or a fleet: both stand in names of things in AWS and in hosts. */
const NAME = '[a-z][a-z0-9-]{0,30}';
const Name = z.string().regex(new RegExp(`^${NAME}$`), 'small letters, digits and hyphens, 31 at most');
const AWS_REGION_PAIR = new RegExp(`^\\s*(${NAME})=([a-z]{2}(?:-[a-z]+)+-\\d{1,2})\\s*$`);

/** `eu=eu-central-1,us=us-east-1` as a map. Two regions of the fleet may be in one of AWS. */
function awsRegions(text: string, context: z.RefinementCtx): Record<string, string> {
  const regions: Record<string, string> = {};
  for (const pair of text.split(',').filter((part) => part.trim() !== '')) {
    const [, region, awsRegion] = AWS_REGION_PAIR.exec(pair) ?? [];
    if (region === undefined || awsRegion === undefined) {
      context.addIssue(`pairs such as eu=eu-central-1, by commas; not "${pair.trim()}"`);
    } else if (Object.hasOwn(regions, region)) {
      context.addIssue(`one AWS region for each region; ${region} has two`);
    } else {
      regions[region] = awsRegion;
    }
  }
  return regions;
}

/** Where credentials are kept: the same settings for the control plane and for the apps that read there. */
export const SecretStoreSettings = {
  FLEET_SECRET_STORE: z.enum(['local', 'aws']).default('local'),
  FLEET_AWS_REGIONS: z.string().default('').transform(awsRegions),
};

/** JSON as it stands in one variable. */
const Json = z.string().transform((text, context) => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    context.addIssue('not JSON');
    return z.NEVER;
  }
});

/** Where a region's servers on RDS stand, and what they are where nobody says otherwise. */
export const RdsSite = z.strictObject({
  subnetGroup: z.string().min(1),
  parameterGroup: z.string().min(1),
  securityGroups: z.array(z.string().min(1)).min(1),
  /** ARN of the KMS key that encrypts storage, snapshots and Performance Insights. */
  kmsKey: z.string().min(1),
  engineVersion: z.string().default('18'),
  /** Memory for a few hundred tenants; burstable classes run out of credits under rollouts. */
  instanceClass: z.string().default('db.r7g.large'),
  /** GiB. gp3 on RDS begins at 20; 100 leave room until it grows by itself. */
  storageGib: z.number().int().min(20).max(65_536).default(100),
});
export type RdsSite = z.infer<typeof RdsSite>;
const TIER_PERIODS = /^(standard|premium|enterprise)=([1-9]\d{0,3}[dh])$/;

/** `90d` for all tiers, or `standard=90d,premium=30d` for those that are named, in milliseconds. */
function rotationPolicy(text: string, context: z.RefinementCtx): RotationPeriods {
  if (text === 'off') return {};
  if (/^[1-9]\d{0,3}[dh]$/.test(text)) {
    const period = intervalMs(text);
    return { standard: period, premium: period, enterprise: period };
  }
  const periods: RotationPeriods = {};
  for (const pair of text.split(',')) {
    const [, tier, period] = TIER_PERIODS.exec(pair.trim()) ?? [];
    if (tier === undefined || period === undefined) {
      context.addIssue(
        `a time such as 90d, pairs such as premium=30d by commas, or off; not "${pair.trim()}"`,
      );
      return z.NEVER;
    }
    periods[tier as keyof RotationPeriods] = intervalMs(period);
  }
  return periods;
}

const Environment = z.object({
  FLEET_DATA_DIR: z.string().default('.flotilla'),
  FLEET_REGISTRY_URL: z.string().optional(),
  FLEET_HOST: z.string().min(1).default('127.0.0.1'),
  FLEET_PORT: Port.default(4600),
  FLEET_APP_PORT: Port.default(4700),
  FLEET_REGIONS: z
    .string()
    .default('eu,us')
    .transform((list) => (list === 'none' ? [] : list.split(',').map((name) => name.trim())))
    .pipe(z.array(Name)),
  ...SecretStoreSettings,
  FLEET_KEY_RETENTION_DAYS: z
    .string()
    .default(String(MOST_RETENTION_DAYS))
    .transform((text, context) => {
      const days = Number(text);
      if (/^\d{1,2}$/.test(text) && days >= LEAST_RETENTION_DAYS && days <= MOST_RETENTION_DAYS) return days;
      context.addIssue(`whole days from ${LEAST_RETENTION_DAYS} to ${MOST_RETENTION_DAYS}, not "${text}"`);
      return z.NEVER;
    }),
  FLEET_NAME: Name.default('flotilla'),
  FLEET_RDS_SITES: Json.pipe(z.record(z.string(), RdsSite)).default({}),
  FLEET_RDS_ENDPOINT_MAP: Json.pipe(z.record(z.string(), z.string().min(1))).default({}),
  FLEET_APP_URLS: Json.pipe(z.record(z.string(), z.url())).default({}),
  FLEET_DRIFT_INTERVAL: z
    .string()
    .regex(/^(off|[1-9]\d{0,4}[mh])$/, 'a time such as 24h or 30m, or off')
    .default('24h'),
  FLEET_ROTATION_POLICY: z.string().default('90d').transform(rotationPolicy),
  FLEET_DEMO: z.enum(['on', 'off']).default('on'),
  /** Read by the SDK itself. */
  AWS_ENDPOINT_URL: z.url().optional(),
  FLEET_LOG_LEVEL: z.enum(['error', 'warn', 'info', 'debug', 'silent']).default('info'),
});

/** With the store on AWS each region must say where in AWS its secrets and keys are: there is no default for that. */
const CheckedEnvironment = Environment.superRefine((values, context) => {
  const nowhere = Object.keys(values.FLEET_RDS_SITES).filter(
    (region) => !Object.hasOwn(values.FLEET_AWS_REGIONS, region),
  );
  if (nowhere.length > 0) {
    const message = `every region with a site needs one, as in eu=eu-central-1; missing: ${nowhere.join(', ')}`;
    context.addIssue({ code: 'custom', path: ['FLEET_AWS_REGIONS'], message });
  }
  if (Object.keys(values.FLEET_RDS_ENDPOINT_MAP).length > 0 && !isEmulated(values.AWS_ENDPOINT_URL)) {
    const message =
      'is for an emulated AWS only, which AWS_ENDPOINT_URL names; against AWS itself instances are reached where they are';
    context.addIssue({ code: 'custom', path: ['FLEET_RDS_ENDPOINT_MAP'], message });
  }
  requireAwsRegions(values, values.FLEET_REGIONS, context);
});

/** Tells of regions that nothing says of where in AWS they are, if anybody needs to know. */
export function requireAwsRegions(
  settings: { FLEET_SECRET_STORE: string; FLEET_AWS_REGIONS: Record<string, string> },
  regions: string[],
  context: z.RefinementCtx,
): void {
  if (settings.FLEET_SECRET_STORE !== 'aws') return;
  const missing = regions.filter((region) => !Object.hasOwn(settings.FLEET_AWS_REGIONS, region));
  if (missing.length === 0) return;
  const message = `with FLEET_SECRET_STORE=aws every region needs one, as in eu=eu-central-1; missing: ${missing.join(', ')}`;
  context.addIssue({ code: 'custom', path: ['FLEET_AWS_REGIONS'], message });
}

/** An endpoint of AWS itself, given by name, is no emulator. */
function isEmulated(endpoint: string | undefined): boolean {
  return endpoint !== undefined && !/\.amazonaws\.com(\.cn)?$/.test(new URL(endpoint).hostname);
}

/** By tier, in milliseconds. */
interface RotationPeriods {
  standard?: number | undefined;
  premium?: number | undefined;
  enterprise?: number | undefined;
}

/** What the environment says, checked. Read once by each program's main and passed on; never at import. */
export interface Config {
  /** Absolute path of the data folder (`.flotilla`). */
  dataDir: string;
  /** Given by FLEET_REGISTRY_URL only; otherwise the embedded registry's URL file is read. */
  registryUrl: string | undefined;
  /** The address that the control plane listens on. */
  host: string;
  /** 0 = any free port. */
  port: number;
  appPort: number;
  /** Regions that a start makes; none where a person makes them, with domains of their own. */
  regions: string[];
  /** Where credentials are kept. */
  secretStore: 'local' | 'aws';
  /** Days between the deletion of a tenant and the end of its key. */
  keyRetentionDays: number;
  /** Of this fleet, where it shares an AWS account with others: in names and tags of what it makes there. */
  fleetName: string;
  /** The fleet's regions to AWS's, e.g. eu → eu-central-1. */
  awsRegions: Record<string, string>;
  /** Regions whose servers the control plane may make on RDS. */
  rdsSites: Record<string, RdsSite>;
  /** Development only: an instance's identifier or host name to the PostgreSQL that stands for it (providers/rds/reach.ts). */
  rdsEndpoints: Record<string, string>;
  /** Where a person reaches each region's tenant app; told in 421 answers and in tenants' URLs. */
  appUrls: Record<string, string>;
  /** Milliseconds between two looks at the schemas of the whole fleet; undefined: only when somebody asks. */
  driftIntervalMs: number | undefined;
  /** Milliseconds that credentials of each tier may serve; tiers that are missing: until somebody rotates them. */
  rotationPolicy: RotationPeriods;
  demo: boolean;
  logLevel: string;
}

/** @throws FleetError `bad_configuration`, naming each variable that is wrong. */
export function loadConfig(env: NodeJS.ProcessEnv): Config {
  const parsed = CheckedEnvironment.safeParse(env);
  if (!parsed.success) {
    throw new FleetError({
      code: 'bad_configuration',
      status: 400,
      message: 'the environment holds values that cannot be used',
      errors: parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message })),
      fix: 'correct or unset the variables named',
    });
  }
  const values = parsed.data;
  return {
    dataDir: resolve(values.FLEET_DATA_DIR),
    registryUrl: values.FLEET_REGISTRY_URL,
    host: values.FLEET_HOST,
    port: values.FLEET_PORT,
    appPort: values.FLEET_APP_PORT,
    regions: values.FLEET_REGIONS,
    secretStore: values.FLEET_SECRET_STORE,
    keyRetentionDays: values.FLEET_KEY_RETENTION_DAYS,
    fleetName: values.FLEET_NAME,
    awsRegions: values.FLEET_AWS_REGIONS,
    rdsSites: values.FLEET_RDS_SITES,
    rdsEndpoints: values.FLEET_RDS_ENDPOINT_MAP,
    appUrls: values.FLEET_APP_URLS,
    driftIntervalMs: intervalMs(values.FLEET_DRIFT_INTERVAL),
    rotationPolicy: values.FLEET_ROTATION_POLICY,
    demo: values.FLEET_DEMO === 'on',
    logLevel: values.FLEET_LOG_LEVEL,
  };
}

/** Milliseconds of the units that times are given in. */
const UNIT_MS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `90d`, `24h` or `30m`; undefined for `off`. */
function intervalMs(text: string): number | undefined {
  const unit = UNIT_MS[text.slice(-1)];
  return unit === undefined ? undefined : Number(text.slice(0, -1)) * unit;
}

/** Names of the files in the data folder that programs share. All are 0600. */
export function dataFiles(dataDir: string) {
  return {
    run: join(dataDir, 'run.json'),
    masterKey: join(dataDir, 'master.key'),
    adminToken: join(dataDir, 'admin.token'),
    registryUrl: join(dataDir, 'registry.url'),
    clusters: join(dataDir, 'clusters'),
    appToken: (region: string) => join(dataDir, `app-${region}.token`),
    lock: join(dataDir, 'start.lock'),
  };
}

/** The registry's URL: the environment's, or the file that the embedded registry's start has written. */
export function registryUrl(config: Config): string {
  if (config.registryUrl !== undefined) return config.registryUrl;
  const file = dataFiles(config.dataDir).registryUrl;
  if (existsSync(file)) return readFileSync(file, 'utf8').trim();
  throw new FleetError({
    code: 'no_registry',
    status: 400,
    message: `no registry is known: FLEET_REGISTRY_URL is not set and ${file} does not exist`,
    fix: 'run `npm start` to boot an embedded registry, or set FLEET_REGISTRY_URL',
  });
}
