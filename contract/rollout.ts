import { z } from 'zod';
import { Instant } from './page.ts';
import { StoredError } from './problem.ts';
import { Tier } from './tenant.ts';

export const ROLLOUT_STATES = [
  'planned',
  'awaiting_approval',
  'running',
  'paused',
  'halted',
  'succeeded',
  'failed',
  'aborted',
  'undoing',
  'undone',
] as const;
export const RolloutState = z.enum(ROLLOUT_STATES);
export type RolloutState = z.infer<typeof RolloutState>;

export const WAVE_STATES = ['pending', 'running', 'baking', 'gating', 'passed', 'failed'] as const;
export const WaveState = z.enum(WAVE_STATES);
export type WaveState = z.infer<typeof WaveState>;

export const TARGET_STATES = [
  'pending',
  'running',
  'verified',
  'failed',
  'unreachable',
  'deferred',
  'skipped',
  'unknown',
  'undone',
] as const;
export const TargetState = z.enum(TARGET_STATES);
export type TargetState = z.infer<typeof TargetState>;

const oneOrMore = z.union([z.string(), z.array(z.string()).min(1)]);

/** Which tenants a wave takes: all given conditions must hold. */
export const Match = z.strictObject({
  region: oneOrMore.optional(),
  tier: z.union([Tier, z.array(Tier).min(1)]).optional(),
  server: oneOrMore.optional(),
  tenants: z.array(z.string()).min(1).optional(),
  labels: z.record(z.string(), z.string()).optional(),
});
export type Match = z.infer<typeof Match>;

const Percent = z.string().regex(/^(100|[0-9]{1,2})(\.[0-9]+)?%$/, 'a percentage such as 1% or 2.5%');
const Duration = z.string().regex(/^[0-9]+(s|m|h)$/, 'a duration such as 30s, 10m or 2h');

export const Budget = z.strictObject({
  /** Failed targets that a wave bears: a count, or a share of the wave's targets. One more halts. */
  failures: z.union([z.number().int().min(0), Percent]).default(0),
});
export type Budget = z.infer<typeof Budget>;

export const WaveSpec = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'lower-case letters, digits and dashes'),
  match: Match.optional(),
  /** At most this many of the matching targets. */
  count: z.number().int().min(1).optional(),
  /** This share of the targets that match and are left: rounded up, never none. */
  percent: z.number().gt(0).max(100).optional(),
  parallel: z.number().int().min(1).max(256).default(16),
  perServer: z.number().int().min(1).max(256).default(16),
  budget: Budget.default({ failures: 0 }),
  bake: Duration.optional(),
});
export type WaveSpec = z.infer<typeof WaveSpec>;

export const RolloutSpec = z.strictObject({
  release: z.string(),
  /** Absent: one wave with everything. */
  waves: z
    .array(WaveSpec)
    .min(1)
    .max(50)
    .refine(
      (waves) => new Set(waves.map((wave) => wave.name)).size === waves.length,
      'wave names must differ',
    )
    .optional(),
});
export type RolloutSpec = z.infer<typeof RolloutSpec>;

export const TargetCounts = z.object({
  pending: z.number().int(),
  running: z.number().int(),
  verified: z.number().int(),
  failed: z.number().int(),
  unreachable: z.number().int(),
  deferred: z.number().int(),
  skipped: z.number().int(),
  unknown: z.number().int(),
  undone: z.number().int(),
});
export type TargetCounts = z.infer<typeof TargetCounts>;

export const RolloutWave = z.object({
  name: z.string(),
  /** Not of the spec: the wave `all`, or `rest` for tenants that no wave takes. */
  implicit: z.boolean(),
  state: WaveState,
  parallel: z.number().int(),
  perServer: z.number().int(),
  budget: Budget,
  total: z.number().int(),
  counts: TargetCounts,
  bakeUntil: Instant.nullable(),
  startedAt: Instant.nullable(),
  finishedAt: Instant.nullable(),
});
export type RolloutWave = z.infer<typeof RolloutWave>;

export const RolloutTarget = z.object({
  tenant: z.string(),
  region: z.string(),
  server: z.string(),
  wave: z.string(),
  state: TargetState,
  missing: z.array(z.string()),
  error: StoredError.nullable(),
  reason: z.string().nullable(),
  tries: z.number().int(),
  durationMs: z.number().int().nullable(),
  startedAt: Instant.nullable(),
  finishedAt: Instant.nullable(),
});
export type RolloutTarget = z.infer<typeof RolloutTarget>;

export const RolloutSummary = z.object({
  id: z.uuid(),
  release: z.string(),
  state: RolloutState,
  /** Why it stands in this state, and who or what brought it there. */
  cause: StoredError.extend({ actor: z.string() }).nullable(),
  author: z.string(),
  total: z.number().int(),
  counts: TargetCounts,
  version: z.number().int(),
  createdAt: Instant,
  startedAt: Instant.nullable(),
  finishedAt: Instant.nullable(),
});
export type RolloutSummary = z.infer<typeof RolloutSummary>;

export const Rollout = RolloutSummary.extend({
  waves: z.array(RolloutWave),
  targets: z.array(RolloutTarget),
});
export type Rollout = z.infer<typeof Rollout>;

/** The answer to planning where no database lacks anything: no plan is stored. */
export const NothingToPlan = z.object({
  release: z.string(),
  nothingToDo: z.literal(true),
  /** Whether new tenants begin at the release. If not, starting a rollout of it makes it so. */
  current: z.boolean(),
});
export type NothingToPlan = z.infer<typeof NothingToPlan>;

export const RolloutVerbBody = z.strictObject({ reason: z.string().max(500).optional() });
export const RetryRollout = z.strictObject({
  reason: z.string().max(500).optional(),
  /** Only this tenant's target; absent: every failed and unreachable one. */
  target: z.string().optional(),
});
export const RolloutFilter = z.object({ state: RolloutState.optional(), release: z.string().optional() });
