import { z } from 'zod';
import { Instant } from './page.ts';
import { StoredError } from './problem.ts';
import { plainText } from './text.ts';

export const REHEARSAL_STATES = ['queued', 'running', 'succeeded', 'failed'] as const;
/** `succeeded`: every target was looked at, whatever came of it. */
export const RehearsalState = z.enum(REHEARSAL_STATES);
export type RehearsalState = z.infer<typeof RehearsalState>;

export const REHEARSAL_OUTCOMES = [
  'passes',
  'fails',
  'not_rehearsed',
  'busy',
  'unreachable',
  'skipped',
] as const;
/**
 * What the rehearsal says of one target. `not_rehearsed`: something of it cannot be tried so, and nothing else failed.
 * `busy`: others held it or its locks. `skipped`: its tenant has been deleted since.
 */
export const RehearsalOutcome = z.enum(REHEARSAL_OUTCOMES);
export type RehearsalOutcome = z.infer<typeof RehearsalOutcome>;

/** PostgreSQL's table locks, the weakest first. */
export const LOCK_MODES = [
  'AccessShare',
  'RowShare',
  'RowExclusive',
  'ShareUpdateExclusive',
  'Share',
  'ShareRowExclusive',
  'Exclusive',
  'AccessExclusive',
] as const;
export const LockMode = z.enum(LOCK_MODES);
export type LockMode = z.infer<typeof LockMode>;

/** The strongest lock that was taken on a table that was there before, and the migration that took it. */
export const RehearsedLock = z.object({ table: z.string(), mode: LockMode, migration: z.string() });
export type RehearsedLock = z.infer<typeof RehearsedLock>;

/** A table that got a new file: all its rows were written again, or it was emptied. */
export const RehearsedRewrite = z.object({
  table: z.string(),
  migration: z.string(),
  /** Of the table before, without indexes, as the last ANALYZE or VACUUM counted it. */
  bytes: z.number(),
});
export type RehearsedRewrite = z.infer<typeof RehearsedRewrite>;

export const RehearsedMigration = z.object({
  name: z.string(),
  outcome: z.enum(['passed', 'failed', 'not_rehearsed']),
  /** Null where it was not run to its end. */
  durationMs: z.number().int().nullable(),
  rows: z.number().int().nullable(),
});
export type RehearsedMigration = z.infer<typeof RehearsedMigration>;

export const RehearsalTarget = z.object({
  tenant: z.string(),
  region: z.string(),
  server: z.string(),
  wave: z.string(),
  how: z.enum(['in_place', 'clone']),
  /** Null: not looked at yet. */
  outcome: RehearsalOutcome.nullable(),
  /** Why it was not rehearsed, or is busy. */
  reason: z.string().nullable(),
  error: StoredError.nullable(),
  migrations: z.array(RehearsedMigration),
  /** Milliseconds until the try that got its locks. */
  lockWaitMs: z.number().int().nullable(),
  /** How long that try's transaction was open and held its locks, in milliseconds. Null on a clone. */
  heldMs: z.number().int().nullable(),
  /** Of the whole visit, with connecting; milliseconds. */
  durationMs: z.number().int().nullable(),
  locks: z.array(RehearsedLock),
  rewrites: z.array(RehearsedRewrite),
  finishedAt: Instant.nullable(),
});
export type RehearsalTarget = z.infer<typeof RehearsalTarget>;

export const RehearsalCounts = z.object({
  /** Not looked at yet. */
  pending: z.number().int(),
  passes: z.number().int(),
  fails: z.number().int(),
  not_rehearsed: z.number().int(),
  busy: z.number().int(),
  unreachable: z.number().int(),
  skipped: z.number().int(),
});
export type RehearsalCounts = z.infer<typeof RehearsalCounts>;

/** Targets that say the same. */
export const RehearsalGroup = z.object({
  code: z.string(),
  /** As the first of them said it. */
  message: z.string(),
  fix: z.string().optional(),
  tenants: z.array(z.string()),
});
export type RehearsalGroup = z.infer<typeof RehearsalGroup>;

/** On how many targets a migration was tried, of those that lack it and were looked at. */
export const RehearsedOn = z.object({
  name: z.string(),
  targets: z.number().int(),
  passed: z.number().int(),
  failed: z.number().int(),
  /** It was left out, or not reached: nothing is known of it there. */
  untried: z.number().int(),
});
export type RehearsedOn = z.infer<typeof RehearsedOn>;

/** How long a rollout will take, from what its migrations took elsewhere. Approvals and gates are not in it. */
export const Estimate = z.object({
  /** Of what is left to run, with bakes. */
  seconds: z.number(),
  basis: z.enum(['rehearsal', 'history']),
  perWave: z.array(z.object({ wave: z.string(), seconds: z.number() })),
  /** Migrations that nobody has measured yet: they are not in it. */
  unmeasured: z.array(z.string()),
});
export type Estimate = z.infer<typeof Estimate>;

const MedianAndMax = z.object({ median: z.number(), max: z.number() });

export const RehearsalSummary = z.object({
  id: z.uuid(),
  rolloutId: z.uuid(),
  release: z.string(),
  state: RehearsalState,
  total: z.number().int(),
  counts: RehearsalCounts,
  /** Of those that are `not_rehearsed`: how many pass as far as they could be tried. */
  partly: z.number().int(),
  /** Migrations that some target lacks, and that were tried on none. */
  untried: z.array(z.string()),
  error: StoredError.nullable(),
  actor: z.string(),
  reason: z.string().nullable(),
  createdAt: Instant,
  startedAt: Instant.nullable(),
  finishedAt: Instant.nullable(),
});
export type RehearsalSummary = z.infer<typeof RehearsalSummary>;

export const Rehearsal = RehearsalSummary.extend({
  lockTimeoutMs: z.number().int(),
  maxHoldMs: z.number().int(),
  /** How many of the biggest idle databases were to be copied, beside those that were named. */
  clones: z.number().int(),
  /** Who would fail, the most frequent first. */
  failures: z.array(RehearsalGroup),
  /** Who was not, or not wholly, rehearsed, for whatever reason. */
  gaps: z.array(RehearsalGroup),
  /** What the targets lack, in its order. */
  migrations: z.array(RehearsedOn),
  /** Over the targets that were rehearsed in place, in milliseconds; null where there are none. */
  lockWaitMs: MedianAndMax.nullable(),
  heldMs: MedianAndMax.nullable(),
  /** By table and migration: the strongest lock, and rewrites of the largest. */
  tables: z.array(
    z.object({
      table: z.string(),
      migration: z.string(),
      lock: LockMode.nullable(),
      targets: z.number().int(),
      rewritten: z.number().int(),
      maxBytes: z.number(),
      /** What the migration took, the longest of all targets; it holds its locks for no longer. */
      maxMs: z.number().int().nullable(),
    }),
  ),
  estimate: Estimate.nullable(),
  targets: z.array(RehearsalTarget),
});
export type Rehearsal = z.infer<typeof Rehearsal>;

const tenants = z.array(z.string().min(1).max(100)).min(1).max(10_000);

export const StartRehearsal = z.strictObject({
  reason: plainText(500).optional(),
  /** Only these tenants' targets, by slug or id; absent: all that are left to run. */
  tenants: tenants.optional(),
  /** Tenants that are rehearsed on a copy of their database instead of in it. */
  clone: tenants.optional(),
  /** So many of the biggest databases without a session are copied as well. */
  clones: z.number().int().min(0).max(100).default(0),
  /** How long it waits for a lock, and a tenant's own query behind it. */
  lockTimeoutMs: z.number().int().min(10).max(10_000).default(200),
  /** How long a rehearsal's transaction may last at the very most, its waits included. */
  maxHoldMs: z.number().int().min(50).max(60_000).default(2_000),
});
export type StartRehearsal = z.infer<typeof StartRehearsal>;
