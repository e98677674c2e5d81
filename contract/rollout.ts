import { z } from 'zod';
import { ContractBlockers } from './app.ts';
import { BackfillProgress } from './backfill.ts';
import { Duration, Percent } from './duration.ts';
import { GateSpec, GateStatus } from './gate.ts';
import { Instant } from './page.ts';
import { StoredError } from './problem.ts';
import { Estimate, RehearsalSummary } from './rehearsal.ts';
import { RolloutPlan } from './rollout-plan.ts';
import { Tier } from './tenant.ts';
import { plainText } from './text.ts';

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

const countOrShare = z.union([z.number().int().min(0), Percent]);

export const Budget = z.strictObject({
  /** Failed targets that are borne: a count, or a share of the targets. One more halts. */
  failures: countOrShare.default(0),
  /** This many failures in a row, in the order in which targets end, halt whatever the rest says. */
  consecutive: z.number().int().min(1).optional(),
  /** Unreachable targets that are borne, apart from failures; absent: none. */
  unreachable: countOrShare.optional(),
  /** A share is judged from this many ended targets on; before it, only a count or `consecutive` halts. */
  minTargets: z.number().int().min(1).optional(),
});
export type Budget = z.infer<typeof Budget>;

export const WaveSpec = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'lower-case letters, digits and dashes'),
  match: Match.optional(),
  /** Whether a match that fits no tenant of the fleet is meant; otherwise such a wave is refused as mistyped. */
  mayBeEmpty: z.boolean().default(false),
  /** At most this many of the matching targets. */
  count: z.number().int().min(1).optional(),
  /** This share of the targets that match and are left: rounded up, never none. */
  percent: z.number().gt(0).max(100).optional(),
  parallel: z.number().int().min(1).max(256).default(16),
  perServer: z.number().int().min(1).max(256).default(16),
  budget: Budget.default({ failures: 0 }),
  /** How long the wave is watched after its last target. */
  bake: Duration.optional(),
  /** Whether somebody else than the author must approve before the waves behind it begin. */
  approve: z.boolean().default(false),
  /** Names of waves that must have passed; absent: the wave before. Waves that do not wait run side by side. */
  dependsOn: z.array(z.string()).optional(),
  /** Names of the rollout's gates that this wave has to pass. */
  gates: z.array(z.string()).optional(),
  /** Regions one after another, or evenly mixed. */
  regions: z.enum(['sequence', 'interleaved']).default('sequence'),
});
export type WaveSpec = z.infer<typeof WaveSpec>;

/**
 * When targets may run. `open` windows repeat: each begins at an instant of `cron` (five fields, in `timeZone`) and
 * lasts `for`. A `freeze` closes everything between two instants. A target outside waits as `deferred`.
 */
export const CalendarRule = z.union([
  z.strictObject({
    match: Match.optional(),
    open: z.strictObject({ cron: z.string().max(100), for: Duration }),
    timeZone: z.string().max(64).default('UTC'),
  }),
  z.strictObject({
    match: Match.optional(),
    freeze: z.strictObject({ from: z.iso.datetime({ offset: true }), to: z.iso.datetime({ offset: true }) }),
  }),
]);
export type CalendarRule = z.infer<typeof CalendarRule>;

export const RolloutSpec = z.strictObject({
  release: z.string().max(100),
  /** Whether somebody else than the author must approve the plan before anything runs. */
  approve: z.boolean().default(false),
  /** Over all waves together, beside each wave's own. */
  budget: Budget.optional(),
  gates: z.record(z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/), GateSpec).optional(),
  calendar: z.array(CalendarRule).max(200).optional(),
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
  /** Names of the waves that it waits for. */
  dependsOn: z.array(z.string()),
  regions: z.enum(['sequence', 'interleaved']),
  /** Those that it names, and those that no wave names, as they stand. */
  gates: z.array(GateStatus),
  /** How long it is watched after its last target. */
  bakeSeconds: z.number().int(),
  bakeUntil: Instant.nullable(),
  /** Whether it needs an approval before the waves behind it begin, and who gave it. */
  approve: z.boolean(),
  approvedBy: z.string().nullable(),
  approvedAt: Instant.nullable(),
  /** Who promoted it past the rest of its bake and gates. */
  waivedBy: z.string().nullable(),
  startedAt: Instant.nullable(),
  finishedAt: Instant.nullable(),
});
export type RolloutWave = z.infer<typeof RolloutWave>;

/** One migration on one database. */
export const MigrationRun = z.object({
  name: z.string(),
  durationMs: z.number().int(),
  lockWaitMs: z.number().int(),
  rows: z.number().int(),
  /** Of a migration outside a transaction. */
  statements: z
    .array(z.object({ command: z.string(), durationMs: z.number().int(), rows: z.number().int() }))
    .optional(),
});

export const RolloutTarget = z.object({
  tenant: z.string(),
  region: z.string(),
  server: z.string(),
  wave: z.string(),
  state: TargetState,
  missing: z.array(z.string()),
  error: StoredError.nullable(),
  reason: z.string().nullable(),
  /** When a target that is outside its window, or whose server is away, runs next. */
  notBefore: Instant.nullable(),
  /** Who has left it behind; null where nobody has. */
  skippedBy: z.string().nullable().optional(),
  tries: z.number().int(),
  /** Of the backfill that runs or ran last, if any. */
  progress: BackfillProgress.nullable(),
  durationMs: z.number().int().nullable(),
  /** Of the last run, in milliseconds: until the try that got its locks. */
  lockWaitMs: z.number().int().nullable().optional(),
  /** Rows that its migrations changed in the last run. */
  rows: z.number().int().nullable().optional(),
  /** What was applied, or taken back, in all its runs. */
  applied: z.array(MigrationRun).optional(),
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
  /** Whether the plan needs an approval, and who gave it. */
  approve: z.boolean(),
  approvedBy: z.string().nullable(),
  approvedAt: Instant.nullable(),
  /** Since when it waits for the active rollout to end. */
  queuedAt: Instant.nullable(),
  /** The rollout that takes its place. */
  supersededBy: z.uuid().nullable(),
  /** Given for an undo: the rollout that it takes back. */
  undoOf: z.uuid().optional(),
  total: z.number().int(),
  counts: TargetCounts,
  version: z.number().int(),
  createdAt: Instant,
  startedAt: Instant.nullable(),
  finishedAt: Instant.nullable(),
});
export type RolloutSummary = z.infer<typeof RolloutSummary>;

export const Rollout = RolloutSummary.extend({
  /** How long what is left of it will take; null where nobody has measured its migrations, or nothing is left. */
  estimate: Estimate.nullable().optional(),
  /** The last one of it. */
  rehearsal: RehearsalSummary.nullable().optional(),
  /** Who keeps its contract steps from running now; absent where it has none left to run, or it is over. */
  contract: ContractBlockers.optional(),
  /** Given while it is planned, or waits for an approval: what there is to decide on. */
  plan: RolloutPlan.extend({
    /** What is borne over all waves together. */
    budget: Budget.optional(),
  }).optional(),
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

const reason = plainText(500).optional();

export const RolloutVerbBody = z.strictObject({ reason });
export const UndoRollout = RolloutVerbBody.extend({
  /** The release's name, where a way back destroys what was written since. */
  confirm: z.string().optional(),
});
export const StartRollout = z.strictObject({
  reason,
  /** Wait for the active rollout to end instead of being refused. */
  queue: z.boolean().default(false),
  /** The halted or aborted rollout whose place this one takes. */
  supersede: z.uuid().optional(),
  /** Start although the last rehearsal has shown that targets would fail. */
  despiteRehearsal: z.boolean().default(false),
});
/** The same for a rollout that is planned and started in one request, as query parameters. */
export const CreateRolloutQuery = z.object({
  queue: z.stringbool().default(false),
  supersede: z.uuid().optional(),
  despiteRehearsal: z.stringbool().default(false),
});
export const ApproveRollout = z.strictObject({
  reason,
  /** Only this wave; absent: whatever waits for an approval now. */
  wave: z.string().optional(),
});
export const PromoteRollout = z.strictObject({
  reason,
  /** Skip the rest of all bakes, gates and approvals. */
  full: z.boolean().default(false),
});
export const AbortRollout = z.strictObject({
  reason,
  /** Cancel running statements too; a CONCURRENTLY is still allowed to end. */
  force: z.boolean().default(false),
});
export const RetryRollout = z.strictObject({
  reason,
  /** Only this tenant's target; absent: every failed and unreachable one. */
  target: z.string().optional(),
  /** Only targets of this wave. */
  wave: z.string().optional(),
});
export const SkipTarget = z.strictObject({
  /** The tenant, by slug or id. */
  target: z.string(),
  reason: plainText(500, 1),
});
export const RolloutFilter = z.object({ state: RolloutState.optional(), release: z.string().optional() });
