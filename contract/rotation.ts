import { z } from 'zod';
import { Instant } from './page.ts';
import { StoredError } from './problem.ts';
import { Match } from './rollout.ts';
import { plainText } from './text.ts';

export const ROTATION_STATES = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;
export const RotationState = z.enum(ROTATION_STATES);
export type RotationState = z.infer<typeof RotationState>;

/**
 * `deferred`: it cannot be rotated now, and `reason` says why. `skipped`: it was gone, or its run has stopped before it.
 */
export const ROTATION_TARGET_STATES = [
  'pending',
  'running',
  'rotated',
  'failed',
  'deferred',
  'skipped',
] as const;
export const RotationTargetState = z.enum(ROTATION_TARGET_STATES);
export type RotationTargetState = z.infer<typeof RotationTargetState>;

/** 32: more would do nothing but exceed the 50 changes a second that AWS Secrets Manager takes. */
const PARALLEL_MAX = 32;

export const StartRotation = z.strictObject({
  /** Which tenants; empty: all that the caller may see. */
  match: Match,
  /** Tenants in work at a time. Each place rests for twice as long as it has worked. */
  parallel: z.number().int().min(1).max(PARALLEL_MAX).default(2),
  perServer: z.number().int().min(1).max(PARALLEL_MAX).default(4),
  /** Close the old logins at once, with their sessions: their requests fail. For credentials that have leaked. */
  now: z.boolean().default(false),
  reason: plainText(500, 1).optional(),
});
export type StartRotation = z.infer<typeof StartRotation>;

export const RotationTarget = z.object({
  tenant: z.string(),
  region: z.string(),
  server: z.string().nullable(),
  state: RotationTargetState,
  reason: z.string().nullable(),
  error: StoredError.nullable(),
  /** When one that is deferred is looked at again; null: not in this run. */
  notBefore: Instant.nullable(),
  operation: z.uuid().nullable(),
  startedAt: Instant.nullable(),
  finishedAt: Instant.nullable(),
});
export type RotationTarget = z.infer<typeof RotationTarget>;

export const RotationCounts = z.object({
  pending: z.number().int(),
  running: z.number().int(),
  rotated: z.number().int(),
  failed: z.number().int(),
  deferred: z.number().int(),
  skipped: z.number().int(),
});
export type RotationCounts = z.infer<typeof RotationCounts>;

/** A rotation run. */
export const Rotation = z.object({
  id: z.uuid(),
  state: RotationState,
  match: Match,
  /** Begun by the policy of the tiers, and not by a person. */
  scheduled: z.boolean(),
  now: z.boolean(),
  parallel: z.number().int(),
  perServer: z.number().int(),
  reason: z.string().nullable(),
  actor: z.string(),
  /** Why it has failed, or was cancelled. */
  error: StoredError.nullable(),
  total: z.number().int(),
  counts: RotationCounts,
  /** The first of those that have failed or are deferred. */
  attention: z.array(RotationTarget),
  createdAt: Instant,
  startedAt: Instant.nullable(),
  finishedAt: Instant.nullable(),
});
export type Rotation = z.infer<typeof Rotation>;

/** What a run would do now. */
export const RotationPlan = z.object({
  total: z.number().int(),
  /** Those that it would begin with, those that it would defer, each with its reason. */
  targets: z.array(
    z.object({
      tenant: z.string(),
      region: z.string(),
      server: z.string().nullable(),
      deferred: z.string().nullable(),
    }),
  ),
});
export type RotationPlan = z.infer<typeof RotationPlan>;

export const RotationFilter = z.object({
  state: RotationState.optional(),
  scheduled: z.stringbool().optional(),
});
export const RotationTargetFilter = z.object({ state: RotationTargetState.optional() });
