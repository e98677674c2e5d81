import { z } from 'zod';
import { GateSpec } from './gate.ts';
import { Finding } from './lint.ts';
import { Instant } from './page.ts';
import { MigrationSummary } from './schema-diff.ts';

/** What refuses a start at the moment. */
export const StartProblem = z.object({
  code: z.string(),
  message: z.string(),
  fix: z.string().optional(),
  /** Tenants or servers that stand against it, as far as the reader may see them. */
  names: z.array(z.string()),
});
export type StartProblem = z.infer<typeof StartProblem>;

/** What somebody has to know before a plan is approved or started, beside its waves and targets. */
export const RolloutPlan = z.object({
  /** Everything that some target lacks, in the order in which it runs. */
  migrations: z.array(MigrationSummary),
  /** Targets by what they lack, the most first; those that are left behind count nowhere. */
  starts: z.array(
    z.object({
      /** The last migration that they have; null for none. */
      from: z.string().nullable(),
      targets: z.number().int(),
      missing: z.array(z.string()),
    }),
  ),
  /** What the linter found in the migrations: warnings, and what they allow, with the reason. */
  lint: z.array(Finding),
  /** Whose word is needed: for the plan (`wave` is null), and before what waits for a wave begins. */
  approvals: z.array(
    z.object({
      wave: z.string().nullable(),
      /** The plan's author, whose own word does not count. */
      notBy: z.string(),
      /** Roles that may give it, within the regions of the key. */
      roles: z.array(z.string()),
      approvedBy: z.string().nullable(),
      approvedAt: Instant.nullable(),
    }),
  ),
  /** Targets that do not run at once: outside their window, away, or left behind. */
  waiting: z.array(
    z.object({
      wave: z.string(),
      state: z.enum(['deferred', 'skipped']),
      reason: z.string().nullable(),
      targets: z.number().int(),
      /** The first and the last instant at which one of them runs; null when they come back, or never. */
      first: Instant.nullable(),
      last: Instant.nullable(),
      /** In which the windows are written; UTC where they are in several, or none has one. */
      timeZone: z.string(),
    }),
  ),
  /** The gates by name, with what they ask and where they draw the line. */
  gates: z.record(z.string(), GateSpec),
  /** Why it cannot be started now, beside contract steps that wait; empty where it can, absent once it was started. */
  cannotStart: z.array(StartProblem).optional(),
  /** Given while it is queued: the active rollout that it waits for. */
  behind: z.object({ id: z.uuid(), release: z.string(), state: z.string() }).optional(),
});
export type RolloutPlan = z.infer<typeof RolloutPlan>;
