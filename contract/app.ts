import { z } from 'zod';
import { LATENCY_BUCKETS } from './latency.ts';
import { Instant } from './page.ts';

/** A semantic version, without a `v` in front. */
export const AppVersion = z
  .string()
  .max(100)
  .regex(
    /^\d{1,9}\.\d{1,9}\.\d{1,9}(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z.-]+)?$/,
    'a semantic version such as 2.4.0',
  );

const MigrationName = z.string().min(1).max(255);

/** The migrations between which a tenant's schema has to stand for the app to serve it; null = no bound. */
export const SchemaRange = z.strictObject({ min: MigrationName.nullable(), max: MigrationName.nullable() });
export type SchemaRange = z.infer<typeof SchemaRange>;

/** Requests of one tenant since the last report, by how long they took. */
export const DatabaseTraffic = z
  .strictObject({
    database: z.uuid(),
    /** Requests that the handler or the database failed (5xx). */
    errors: z.number().int().min(0),
    /** Requests in each bucket of LATENCY_BOUNDS_MS, and last those that took longer than all of them. */
    latency: z.array(z.number().int().min(0).max(1_000_000)).length(LATENCY_BUCKETS),
  })
  .refine(
    ({ errors, latency }) => errors <= latency.reduce((sum, count) => sum + count, 0),
    'more errors than requests',
  );
export type DatabaseTraffic = z.infer<typeof DatabaseTraffic>;

/** Databases in one report; an app with more tenants in a window sends several. About 150 bytes each. */
export const REPORT_DATABASES_MAX = 5_000;

/**
 * What one process of a region's tenant app tells of itself every few seconds. Reports of an instance are numbered and
 * sent in order: one that comes again, or late, counts once.
 */
export const AppReport = z.strictObject({
  /** Made when the process starts. */
  instance: z.uuid(),
  sequence: z.number().int().min(1),
  appVersion: AppVersion,
  acceptsSchema: SchemaRange,
  /**
   * Version of the route table up to which it has taken over every credential: what it holds open, or will open, uses
   * none that is older. Null while it knows no routes.
   */
  acknowledged: z
    .string()
    .regex(/^\d{1,18}$/, 'a version of the route table')
    .nullable()
    .default(null),
  /** The process is ending: it serves nothing from now on. */
  stopping: z.boolean().default(false),
  /** Of which time the traffic is. Reports of one window add up. */
  window: z
    .strictObject({ from: Instant, to: Instant })
    .refine(({ from, to }) => Date.parse(from) < Date.parse(to), 'a window ends after it begins'),
  databases: z
    .array(DatabaseTraffic)
    .max(REPORT_DATABASES_MAX)
    .refine((all) => new Set(all.map(({ database }) => database)).size === all.length, 'a database twice'),
});
export type AppReport = z.infer<typeof AppReport>;

export const AppReportAnswer = z.object({
  /** False where this or a later report of the instance was here before. */
  counted: z.boolean(),
  /** Databases that are none of the region's: nothing of them was stored. */
  ignored: z.array(z.uuid()),
});
export type AppReportAnswer = z.infer<typeof AppReportAnswer>;

/** Who keeps a rollout's contract steps from running. */
export const ContractBlockers = z.object({
  /** The contract migrations that are to run. */
  steps: z.array(z.string()),
  /** Running instances of apps that would break. */
  instances: z.array(
    z.object({
      instance: z.uuid(),
      region: z.string(),
      appVersion: z.string(),
      acceptsSchema: SchemaRange,
      lastSeen: Instant,
      reason: z.string(),
    }),
  ),
  /** Tenants, suspended ones too, that lack what comes before; `needs` is the last of it. */
  tenants: z.array(
    z.object({
      tenant: z.string(),
      region: z.string(),
      state: z.string(),
      schemaVersion: z.string().nullable(),
      needs: z.string(),
    }),
  ),
  /** How many more there are in regions that the reader may not see. */
  elsewhere: z.number().int(),
});
export type ContractBlockers = z.infer<typeof ContractBlockers>;
