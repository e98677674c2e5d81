import { z } from 'zod';
import { AppVersion } from './app.ts';
import { Backfill } from './backfill.ts';
import { Allowance, Baseline, Finding } from './lint.ts';
import { Instant } from './page.ts';

export const Phase = z.enum(['expand', 'migrate', 'contract']);

/** A migration as the client renders it from its file: SQL only, directives already read. */
export const RenderedMigration = z.strictObject({
  name: z.string().min(1).max(255),
  /** The file it came from, relative to the published folder; for messages. */
  file: z.string().max(500),
  upSql: z.string().max(5_000_000),
  downSql: z.string().max(5_000_000).nullable(),
  /** Lines of `file` on which the two begin, so that errors name the file's own lines. */
  upLine: z.number().int().min(1).optional(),
  downLine: z.number().int().min(1).optional(),
  phase: Phase.default('expand'),
  /** Of a contract step: the app version below which no running app may be. */
  requiresApp: AppVersion.optional(),
  transactional: z.boolean().default(true),
  lockTimeoutMs: z.number().int().min(1).max(600_000).nullable().default(null),
  statementTimeoutMs: z.number().int().min(1).max(86_400_000).nullable().default(null),
  /** Lint rules that it breaks on purpose. */
  allow: z.array(Allowance).max(100).optional(),
  /** Runs it range by range, outside one transaction; its phase is `migrate`. */
  backfill: Backfill.optional(),
});
export type RenderedMigration = z.infer<typeof RenderedMigration>;

export const PublishRelease = z.strictObject({
  /** Default: year.month.number, the next free one. */
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'letters, digits, dots, dashes')
    .optional(),
  migrations: z.array(RenderedMigration).min(1).max(10_000),
  /**
   * The last of `migrations`, said to end the release there on purpose though more are published: what comes before a
   * contract step can only reach the fleet first by a release of its own.
   */
  upTo: z.string().max(255).optional(),
  /**
   * Takes new migrations that stand before published ones: they are put behind all that is published, and every
   * database runs them there.
   */
  allowOutOfOrder: z.boolean().optional(),
  /** For a history that was written before it came here: its lint findings are recorded, and refuse nothing. */
  baseline: Baseline.optional(),
});
export type PublishRelease = z.infer<typeof PublishRelease>;

export const Release = z.object({
  name: z.string(),
  head: z.string(),
  checksum: z.string(),
  migrations: z.number().int(),
  /** Whether new tenants are born at this release: the last one that fully succeeded. */
  current: z.boolean(),
  /** Databases at or past the head, and databases behind it. */
  applied: z.number().int(),
  behind: z.number().int(),
  publishedBy: z.string(),
  publishedAt: Instant,
});
export type Release = z.infer<typeof Release>;

/** The answer to publishing. */
export const PublishedRelease = Release.extend({
  /** Whether the release was there before with exactly these migrations, so that nothing was changed. */
  alreadyPublished: z.boolean(),
  /** What the linter found in the migrations that came with it: warnings, and what they allow. */
  findings: z.array(Finding),
});
export type PublishedRelease = z.infer<typeof PublishedRelease>;

export const ReleaseDetail = Release.extend({
  steps: z.array(
    z.object({
      name: z.string(),
      checksum: z.string(),
      phase: Phase,
      requiresApp: AppVersion.nullable(),
      transactional: z.boolean(),
      reversible: z.boolean(),
      /** Whether its name sorts before a migration that was published, and is applied, earlier. */
      outOfOrder: z.boolean(),
      upSql: z.string(),
      downSql: z.string().nullable(),
      /** Given where it is run range by range. */
      backfill: Backfill.nullable(),
      /** What the linter found when it was published, allowed findings included. */
      findings: z.array(Finding),
    }),
  ),
});
export type ReleaseDetail = z.infer<typeof ReleaseDetail>;

export const WithdrawRelease = z.strictObject({ reason: z.string().trim().min(1).max(1_000) });
export type WithdrawRelease = z.infer<typeof WithdrawRelease>;

/** A release that was taken back before any database had it. */
export const WithdrawnRelease = z.object({
  name: z.string(),
  head: z.string(),
  checksum: z.string(),
  /** Names of the migrations that went with it: their files may be published anew, changed or not. */
  migrations: z.array(z.string()),
  withdrawnBy: z.string(),
  withdrawnAt: Instant,
  reason: z.string(),
});
export type WithdrawnRelease = z.infer<typeof WithdrawnRelease>;
