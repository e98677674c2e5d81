import type { GateScope, GateSpec, GateState, MeasurementOutcome } from '../../../contract/gate.ts';
import type { RolloutSpec, WaveState } from '../../../contract/rollout.ts';
import { durationSeconds } from '../../../contract/duration.ts';
import type { Verdict } from '../engine/gating.ts';

/**
 * A gate asks again and again whether a rollout may go on. Every answer is a row, and it is judged by the rows alone
 * (judge.ts), so that a restart goes on from them.
 *
 *   waiting ─▶ measuring ─┬─ as many successes as it needs ─▶ passed
 *                         ├─ more failures than borne ──────▶ failed         the rollout halts
 *                         ├─ more without data than borne ──▶ inconclusive   the rollout pauses
 *                         └─ more errors in a row than borne ▶ error         the rollout pauses
 *
 * No data never passes, and a source that is broken neither passes nor fails. A measurement that nobody made in its
 * time, because no worker lived, is one without data.
 *
 * For those who drive rollouts, all there is to call:
 *
 *   openGates(deps, owner, wave)       run.ts     the gates of a wave; undefined where it has none
 *     .afterTarget(target)                        after a target was verified: never `wait`
 *     .measure(now)                               measures what is due; the verdict over all gates of the wave
 *   restartGates(tx, id, which)        store.ts   at `retry` and `resume`: older measurements count no more
 *   gateStatuses(db, rollout, waves)   view.ts    how each wave's gates stand, for readers
 *   measurementRoutes()                http.ts    GET /api/v1/rollouts/{id}/measurements
 */

export const GO: Verdict = { state: 'go' };

/** Whether a rollout was stopped by a gate: to let it go on, its gates have to be begun anew. */
export function isGateCause(cause: { code: string } | null): boolean {
  if (cause === null) return false;
  return cause.code === WITHOUT_DATA || Object.values<string | undefined>(CAUSE_CODES).includes(cause.code);
}

/** The code of the cause where a wave has nothing that its gates could look at. */
export const WITHOUT_DATA = 'gate_without_data';

/** The codes of the causes that gates stop rollouts for, by the state that the gate is then in. */
export const CAUSE_CODES: Partial<Record<GateState, string>> = {
  failed: 'gate_failed',
  inconclusive: 'gate_inconclusive',
  error: 'gate_error',
};

/** The numbers that a gate is judged by. */
export interface GateRules {
  /** Successes that pass it; null: it never passes by itself, it watches. */
  count: number | null;
  intervalMs: number;
  failureLimit: number;
  inconclusiveLimit: number;
  consecutiveErrorLimit: number;
}

/** A gate as it applies to one wave. */
export interface Gate {
  name: string;
  scope: GateScope;
  spec: GateSpec;
  rules: GateRules;
  /** From the end of the wave's targets, or from its start for `fleet`, to the first measurement. */
  delayMs: number;
  dryRun: boolean;
}

/** What a source answers. The message names no tenant, since not every reader may see it. */
export interface Reading {
  outcome: MeasurementOutcome;
  value: number | null;
  samples: number;
  message: string;
  /** Whose database decided. */
  tenant?: MeasuredTenant | undefined;
}

export interface MeasuredTenant {
  id: string;
  slug: string;
  region: string;
}

export interface Measured {
  outcome: MeasurementOutcome;
  /** When it was begun. */
  measuredAt: Date;
  /** Milliseconds until its measurer was free again; absent: none to speak of. */
  tookMs?: number | undefined;
}

/**
 * Tenant apps count by the minute, and only minutes that began after the migration tell of it: two minutes after it
 * there is a whole one, wherever in a minute it fell.
 */
const TRAFFIC_DELAY = '2m';

/** What of a wave decides on its gates. Its bake is not always the spec's: an undo has none. */
export interface GatedWave {
  name: string;
  bakeSeconds: number;
}

/**
 * The gates of a wave: those that it names, and those that no wave names. Without `on`, the former look at the wave,
 * the latter at everything: a gate that is written down is never left out in silence.
 */
export function gatesOf(spec: RolloutSpec, { name: waveName, bakeSeconds }: GatedWave): Gate[] {
  const waves = spec.waves ?? [];
  const named = new Set(waves.flatMap((wave) => wave.gates ?? []));
  const wave = waves.find(({ name }) => name === waveName);
  return Object.entries(spec.gates ?? {})
    .filter(([name]) => !named.has(name) || wave?.gates?.includes(name) === true)
    .map(([name, gate]) => {
      const scope = gate.on ?? (named.has(name) ? 'wave' : 'fleet');
      return gateFor(name, gate, scope, bakeSeconds);
    });
}

function gateFor(name: string, spec: GateSpec, scope: GateScope, bakeSeconds: number): Gate {
  const delay = durationSeconds(spec.initialDelay ?? ('metric' in spec ? TRAFFIC_DELAY : undefined));
  const interval = durationSeconds(spec.interval);
  // One at the start, and each interval another, the last at the end of the bake.
  const inBake = Math.max(0, Math.floor((bakeSeconds - delay) / interval)) + 1;
  return {
    name,
    scope,
    spec,
    rules: {
      count: scope === 'wave' ? (spec.count ?? inBake) : null,
      intervalMs: interval * 1_000,
      failureLimit: spec.failureLimit,
      inconclusiveLimit: spec.inconclusiveLimit,
      consecutiveErrorLimit: spec.consecutiveErrorLimit,
    },
    delayMs: delay * 1_000,
    dryRun: spec.dryRun,
  };
}

/** Whether the wave's own targets are through, so that gates of the scope `wave` are asked. */
export function isWatched(state: WaveState): boolean {
  return state === 'baking' || state === 'gating';
}
