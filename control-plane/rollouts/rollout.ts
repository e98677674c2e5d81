import type { RolloutState, TargetState, WaveState } from '../../contract/rollout.ts';
import { FleetError } from '../../platform/errors.ts';
import { wrongState } from '../http/conflict.ts';

/**
 * A rollout takes a release through waves of targets. Three machines, each a table of
 * event → from → to; what is not in the table is not allowed.
 *
 *   rollout  planned ─start─▶ running ⇄ paused ──────────▶ succeeded | aborted
 *                               └─halt─▶ halted ─retry─▶ running
 *   wave     pending ─start─▶ running ─bake─▶ baking ─pass─▶ passed;  running ─fail─▶ failed ─reopen─▶ running
 *   target   pending ─claim─▶ running ─verify─▶ verified | failed | unreachable
 *
 * `paused` is a person's stop, `halted` is the machine's. A target whose worker died in between is `unknown`:
 * its database is asked, the outcome is never guessed.
 */
export type RolloutEvent = 'start' | 'pause' | 'resume' | 'halt' | 'retry' | 'abort' | 'succeed';
export type WaveEvent = 'start' | 'bake' | 'pass' | 'fail' | 'reopen';
export type TargetEvent =
  'claim' | 'verify' | 'fail' | 'lose' | 'orphan' | 'requeue' | 'retry' | 'defer' | 'skip' | 'join';

type Machine<S extends string, E extends string> = Readonly<Record<E, Readonly<Partial<Record<S, S>>>>>;

const ROLLOUT: Machine<RolloutState, RolloutEvent> = {
  start: { planned: 'running' },
  pause: { running: 'paused' },
  resume: { paused: 'running' },
  // A target in flight may break the budget after a person has paused: that stop still needs a repair.
  halt: { running: 'halted', paused: 'halted' },
  retry: { halted: 'running' },
  abort: { planned: 'aborted', running: 'aborted', paused: 'aborted', halted: 'aborted' },
  // From `planned` when nothing is behind: there is nothing to run.
  succeed: { planned: 'succeeded', running: 'succeeded' },
};

const WAVE: Machine<WaveState, WaveEvent> = {
  start: { pending: 'running' },
  bake: { running: 'baking' },
  pass: { running: 'passed', baking: 'passed' },
  fail: { running: 'failed' },
  reopen: { failed: 'running', passed: 'running', baking: 'running' },
};

const TARGET: Machine<TargetState, TargetEvent> = {
  claim: { pending: 'running', unknown: 'running' },
  verify: { running: 'verified', unknown: 'verified' },
  fail: { running: 'failed' },
  lose: { running: 'unreachable', unknown: 'unreachable' },
  /** Its worker lost the lease. */
  orphan: { running: 'unknown' },
  /** The database was asked: nothing, or not everything, is applied. */
  requeue: { unknown: 'pending' },
  retry: { failed: 'pending', unreachable: 'pending' },
  defer: { pending: 'deferred' },
  skip: { pending: 'skipped', running: 'skipped', unknown: 'skipped' },
  /** A live tenant that is still behind at the end: resumed, or changed from outside. */
  join: { deferred: 'pending', skipped: 'pending', verified: 'pending' },
};

/** The next state, or undefined where the event is not allowed. Total and pure. */
export function transitionRollout(state: RolloutState, event: RolloutEvent): RolloutState | undefined {
  return ROLLOUT[event][state];
}

export function transitionWave(state: WaveState, event: WaveEvent): WaveState | undefined {
  return WAVE[event][state];
}

export function transitionTarget(state: TargetState, event: TargetEvent): TargetState | undefined {
  return TARGET[event][state];
}

/** The states that the event may start from: batch updates carry them as the expected old state. */
export function targetSources(event: TargetEvent): TargetState[] {
  return sources(TARGET, event);
}

/** The state that the event leads to; it is the same from wherever it may start. */
export function targetAfter(event: TargetEvent): TargetState {
  const [next] = Object.values(TARGET[event]);
  if (next === undefined) throw new Error(`${event} leads nowhere`);
  return next;
}

/** The state after an event that must be possible in `state`; otherwise it is a fault of the caller. */
export function moveTarget(state: TargetState, event: TargetEvent): TargetState {
  const next = transitionTarget(state, event);
  if (next === undefined) throw new Error(`a target that is ${state} cannot ${event}`);
  return next;
}

export function waveSources(event: WaveEvent): WaveState[] {
  return sources(WAVE, event);
}

function sources<S extends string, E extends string>(machine: Machine<S, E>, event: E): S[] {
  return Object.keys(machine[event]) as S[];
}

/** States in which a rollout is over for good. */
export const TERMINAL_STATES: readonly RolloutState[] = ['succeeded', 'failed', 'aborted', 'undone'];
/** States in which nothing more happens before somebody acts: watchers may leave. */
export const RESTING_STATES: readonly RolloutState[] = [...TERMINAL_STATES, 'halted'];
/** States of which the fleet has at most one rollout. */
export const ACTIVE_STATES: readonly RolloutState[] = [
  'awaiting_approval',
  'running',
  'paused',
  'halted',
  'undoing',
];

/** Why a rollout stands where it stands, and who brought it there. */
export interface Cause {
  code: string;
  message: string;
  fix?: string | undefined;
  /** A key's name, or `engine`. */
  actor: string;
}

/** The actor of what the machine decides by itself. */
export const ENGINE_ACTOR = 'engine';

export function rolloutNotFound(id: string): FleetError {
  return new FleetError({
    code: 'rollout_not_found',
    status: 404,
    message: `there is no rollout ${id}`,
    fix: 'fleet rollout list',
  });
}

/** The verb that the rollout's state does not allow, with the one that it does. */
export function rolloutInWrongState(
  { id, state }: { id: string; state: RolloutState },
  event: RolloutEvent,
): FleetError {
  return wrongState({ noun: 'rollout', name: id, state }, event, sources(ROLLOUT, event), wayOn(id, state));
}

function wayOn(id: string, state: RolloutState): string {
  if (TERMINAL_STATES.includes(state))
    return 'start a new rollout: databases that are up to date are not run again';
  if (state === 'halted')
    return `repair the failing targets, then fleet rollout retry ${id}, or fleet rollout abort ${id}`;
  if (state === 'paused') return `fleet rollout resume ${id}, or fleet rollout abort ${id}`;
  if (state === 'planned') return `fleet rollout start ${id}`;
  return `fleet rollout get ${id}`;
}
