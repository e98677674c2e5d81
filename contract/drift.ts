import { z } from 'zod';
import { Instant } from './page.ts';
import { StoredError } from './problem.ts';
import { Match } from './rollout.ts';
import { plainText } from './text.ts';

/** `drifted`: nobody has accepted the difference, and rollouts refuse the database. */
export const DRIFT_STATES = ['drifted', 'accepted'] as const;
export const DriftState = z.enum(DRIFT_STATES);
export type DriftState = z.infer<typeof DriftState>;

/** A database whose schema is not what its migrations make. */
export const Drift = z.object({
  tenant: z.string(),
  tenantId: z.uuid(),
  region: z.string(),
  server: z.string(),
  database: z.string(),
  state: DriftState,
  schemaVersion: z.string().nullable(),
  /** The first look that found it to differ, and the last. */
  since: Instant,
  checkedAt: Instant,
  /** SHA-256 of the schema that it has, and of the one that it should have. */
  fingerprint: z.string(),
  expected: z.string(),
  /** In words, e.g. `~ tasks: + column due_on date`. */
  changes: z.array(z.string()),
  /** Unified diff from the schema that it should have to the one that it has. */
  diff: z.string(),
  accepted: z.object({ by: z.string(), at: Instant, reason: z.string() }).nullable(),
});
export type Drift = z.infer<typeof Drift>;

export const DriftFilter = z.object({
  state: DriftState.optional(),
  tenant: z.string().optional(),
  region: z.string().optional(),
});
export type DriftFilter = z.infer<typeof DriftFilter>;

export const DRIFT_CHECK_STATES = ['queued', 'running', 'succeeded', 'failed'] as const;
export const DriftCheckState = z.enum(DRIFT_CHECK_STATES);
export type DriftCheckState = z.infer<typeof DriftCheckState>;

/** Databases by what the look at them said. */
export const DriftCounts = z.object({
  same: z.number().int(),
  drifted: z.number().int(),
  accepted: z.number().int(),
  /** Being migrated at that moment: their schema is between two versions. */
  busy: z.number().int(),
  /** That could not be looked at. */
  unread: z.number().int(),
});
export type DriftCounts = z.infer<typeof DriftCounts>;

export const DriftCheck = z.object({
  id: z.uuid(),
  state: DriftCheckState,
  match: Match,
  counts: DriftCounts,
  unread: z.array(z.object({ tenant: z.string(), error: StoredError })),
  error: StoredError.nullable(),
  actor: z.string(),
  createdAt: Instant,
  startedAt: Instant.nullable(),
  finishedAt: Instant.nullable(),
});
export type DriftCheck = z.infer<typeof DriftCheck>;

/** Which tenants to look at; absent or empty: all that the caller may see. */
export const StartDriftCheck = z.strictObject({ match: Match.default({}) });
export type StartDriftCheck = z.infer<typeof StartDriftCheck>;

export const AcceptDrift = z.strictObject({
  reason: plainText(500, 1),
  /** Of the schema that the person has seen; another one is then not accepted unseen. */
  fingerprint: z.string().optional(),
});
export type AcceptDrift = z.infer<typeof AcceptDrift>;
