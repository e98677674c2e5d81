import { z } from 'zod';
import { AppVersion } from './app.ts';
import { Backfill } from './backfill.ts';
import { Finding } from './lint.ts';
import { StoredError } from './problem.ts';

/** A migration as somebody sees it who has to decide on it. */
export const MigrationSummary = z.object({
  name: z.string(),
  phase: z.enum(['expand', 'migrate', 'contract']),
  requiresApp: AppVersion.nullable(),
  transactional: z.boolean(),
  reversible: z.boolean(),
  /** Whether its name sorts before a migration that was published earlier: it runs behind that one all the same. */
  outOfOrder: z.boolean(),
  /** Given where it changes data only, range by range: it is in no diff of schemas. */
  backfill: Backfill.nullable(),
});
export type MigrationSummary = z.infer<typeof MigrationSummary>;

/** What migrations make of the schema that those before them have made. */
export const SchemaChange = z.object({
  /** PostgreSQL's major version that they were applied to. */
  postgres: z.number().int(),
  /** Unified diff of the two descriptions; empty where the schema stays as it is. */
  diff: z.string(),
  /** In words, e.g. `table tasks: column done added (boolean, not null)`. */
  summary: z.array(z.string()),
});
export type SchemaChange = z.infer<typeof SchemaChange>;

/** From one version of the schema to another. A version is its last migration; null is the empty database. */
export const VersionDiff = z.object({
  from: z.string().nullable(),
  to: z.string().nullable(),
  /** In the order in which they run. */
  migrations: z.array(MigrationSummary),
  /** Null where there is none, for the reason in `absent`. */
  schema: SchemaChange.nullable(),
  absent: StoredError.nullable(),
});
export type VersionDiff = z.infer<typeof VersionDiff>;

export const RolloutSchemaDiff = z.object({
  rollout: z.uuid(),
  release: z.string(),
  /**
   * By the version that targets have, the most common first: only of that one the schemas are compared. Targets that
   * are left behind count nowhere.
   */
  starts: z.array(VersionDiff.extend({ targets: z.number().int() })),
});
export type RolloutSchemaDiff = z.infer<typeof RolloutSchemaDiff>;

export const ReleaseDiff = VersionDiff.extend({
  release: z.string(),
  /** The release that it is compared with; null: with the empty database. */
  fromRelease: z.string().nullable(),
  /** Whether `release` is the older one: its migrations are then those that would be taken back. */
  backwards: z.boolean(),
  /** What the linter found in the migrations when they were published. */
  findings: z.array(Finding),
});
export type ReleaseDiff = z.infer<typeof ReleaseDiff>;

export const ReleaseDiffQuery = z.object({
  /** Absent: the release before. */
  from: z.string().optional(),
});
