import { z } from 'zod';
import { BackfillProgress } from './backfill.ts';
import { Instant } from './page.ts';
import { StoredError } from './problem.ts';
import { RehearsalSummary } from './rehearsal.ts';
import { RolloutState, RolloutSummary, RolloutWave, TargetState, WaveState } from './rollout.ts';

/** A target that is being migrated, or whose worker died. */
export const InFlightTarget = z.object({
  tenant: z.string(),
  region: z.string(),
  server: z.string(),
  wave: z.string(),
  state: TargetState.extract(['running', 'unknown']),
  /** The migration that runs; null where nobody has told yet. */
  migration: z.string().nullable(),
  startedAt: Instant.nullable(),
  /** Since when that migration runs. */
  migrationSince: Instant.nullable(),
  tries: z.number().int(),
  /** Of the migration that runs, where that is a backfill. */
  backfill: BackfillProgress.nullable(),
});
export type InFlightTarget = z.infer<typeof InFlightTarget>;

const Example = z.object({ tenant: z.string(), region: z.string(), server: z.string() });

/** Failed targets whose errors differ in names and numbers only. */
export const FailureGroup = z.object({
  code: z.string(),
  count: z.number().int(),
  /** The error of the one that ended first. */
  error: StoredError,
  example: Example,
});
export type FailureGroup = z.infer<typeof FailureGroup>;

/** A server that does not answer, however many targets wait for it. */
export const RolloutOutage = z.object({
  server: z.string(),
  region: z.string(),
  /** Null where the server was given up: its targets are unreachable until somebody retries. */
  since: Instant.nullable(),
  tries: z.number().int().nullable(),
  nextTryAt: Instant.nullable(),
  /** Targets that wait for it or could not be reached. */
  targets: z.number().int(),
  error: StoredError.nullable(),
});
export type RolloutOutage = z.infer<typeof RolloutOutage>;

/** Targets that wait for the same reason. */
export const Deferral = z.object({
  reason: z.string(),
  count: z.number().int(),
  /** When the first of them runs; null where that is not known: its tenant is suspended, or moves. */
  nextAt: Instant.nullable(),
  example: Example,
});
export type Deferral = z.infer<typeof Deferral>;

/** Targets that this rollout leaves as they are, for the same reason. */
export const Skips = z.object({
  reason: z.string(),
  /** Who has left them behind; null where nobody named them: an abort came before them, or their tenant is gone. */
  by: z.string().nullable(),
  /** Whether an abort came before them. */
  notReached: z.boolean(),
  count: z.number().int(),
  example: Example,
});
export type Skips = z.infer<typeof Skips>;

/** One backfill over all the databases that it is under way in. */
export const BackfillSum = z.object({
  migration: z.string(),
  running: z.number().int(),
  /** Of those that run: how many are held now. */
  held: z.number().int(),
  /** Left half way: paused, failed, or waiting for a worker. */
  waiting: z.number().int(),
  rowsDone: z.number().int(),
  rowsEstimated: z.number().int(),
  heldMs: z.number().int(),
  /** Of the one that takes longest, without what it will be held. */
  etaSeconds: z.number().int().nullable(),
  /** Why one of them is held. */
  reason: z.string().nullable(),
});
export type BackfillSum = z.infer<typeof BackfillSum>;

/** Something that was said to the rollout, or that it did by itself. */
export const RolloutEvent = z.object({
  at: Instant,
  actor: z.string(),
  /** In words, such as `wave canary is baking`. */
  what: z.string(),
  /** As the person gave it. */
  reason: z.string().nullable(),
});
export type RolloutEvent = z.infer<typeof RolloutEvent>;

/** When the rollout is over by the pace of now; or, where a wave needs a word first, when that is asked for. */
export const RolloutEta = z.object({
  at: Instant,
  seconds: z.number().int(),
  until: z.enum(['end', 'approval']),
});
export type RolloutEta = z.infer<typeof RolloutEta>;

/** Why there is no estimate of the end although the rollout runs. */
export const NoEta = z.object({
  code: z.literal('held'),
  targets: z.number().int(),
  /** Who holds the first of them, and why, as its backfill says it; null where that is in another region. */
  reason: z.string().nullable(),
});
export type NoEta = z.infer<typeof NoEta>;

/** One change of state, as the stream of events tells it; `wave` null: of the rollout itself. */
export const RolloutChange = z.object({
  id: z.string(),
  at: Instant,
  wave: z.string().nullable(),
  from: z.union([RolloutState, WaveState]),
  to: z.union([RolloutState, WaveState]),
  cause: StoredError.extend({ actor: z.string() }).nullable(),
});
export type RolloutChange = z.infer<typeof RolloutChange>;

/** A rollout and its waves, without anything of single targets: what its events carry. */
export const RolloutOverview = RolloutSummary.extend({ waves: z.array(RolloutWave) });
export type RolloutOverview = z.infer<typeof RolloutOverview>;

/**
 * How a rollout stands after a person's word to it: as large for ten thousand targets as for ten, since it is read while
 * the rollout is locked, and kept for whoever repeats the call.
 */
export const RolloutStanding = RolloutOverview.extend({
  /** The last one of it. */
  rehearsal: RehearsalSummary.nullable(),
});
export type RolloutStanding = z.infer<typeof RolloutStanding>;

/** Everything that a watcher shows: as large for ten thousand targets as for ten. */
export const RolloutProgress = RolloutOverview.extend({
  /** The registry's clock when this was read. */
  now: Instant,
  /** Absent until the pace means something, where nothing runs, and while backfills are held. */
  eta: RolloutEta.nullable(),
  /** Given while nobody can know the end: targets in flight whose backfill is held. */
  noEta: NoEta.optional(),
  /** What each gate asks for, in words. */
  gateLimits: z.record(z.string(), z.string()),
  /** Those that run longest, at most 50. */
  inFlight: z.array(InFlightTarget),
  /** Most frequent first, at most 20. */
  failures: z.array(FailureGroup),
  outages: z.array(RolloutOutage),
  deferred: z.array(Deferral),
  /** Most frequent first, at most 20. */
  skipped: z.array(Skips),
  backfills: z.array(BackfillSum),
  /** The last ones, newest first. */
  events: z.array(RolloutEvent),
});
export type RolloutProgress = z.infer<typeof RolloutProgress>;
