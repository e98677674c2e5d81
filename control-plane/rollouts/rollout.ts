import type { RolloutState, TargetState, WaveState } from '../../contract/rollout.ts';
import { FleetError } from '../../platform/errors.ts';
import { wrongState } from '../http/conflict.ts';

/**
 * A rollout takes a release through waves of targets. Three machines, each a table of
 * event → from → to; what is not in the table is not allowed.
 *
 *   rollout  planned ─start─▶ running ⇄ paused ──────────▶ succeeded | aborted ─undo─▶ undoing ─▶ undone
 *               │               ├─submit─▶ awaiting_approval ─approve─▶ running
 *               └─submit─▶ …    └─halt─▶ halted ─retry | promote─▶ running
 *   wave     pending ─start─▶ running ─bake─▶ baking ─gate─▶ gating ─pass─▶ passed;  ─fail─▶ failed ─reopen─▶ running
 *   target   pending ─claim─▶ running ─verify─▶ verified | failed | unreachable;  pending ⇄ deferred
 *
 * `paused` is a person's stop, or the machine's where it only lacks knowledge; `halted` is the machine's for a
 * reason. A target whose worker died in between is `unknown`: its database is asked, the outcome is never guessed.
 */
export const ROLLOUT_EVENTS = [
  'start',
  'submit',
  'approve',
  'pause',
  'resume',
  'promote',
  'halt',
  'retry',
  'abort',
  'succeed',
  'undo',
  'undone',
  'forsake',
] as const;
export type RolloutEvent = (typeof ROLLOUT_EVENTS)[number];
export const WAVE_EVENTS = ['start', 'bake', 'gate', 'pass', 'fail', 'reopen'] as const;
export type WaveEvent = (typeof WAVE_EVENTS)[number];
export const TARGET_EVENTS = [
  'claim',
  'verify',
  'fail',
  'lose',
  'yield',
  'hold',
  'orphan',
  'requeue',
  'retry',
  'readmit',
  'defer',
  'due',
  'skip',
  'leave',
  'join',
  'undo',
] as const;
export type TargetEvent = (typeof TARGET_EVENTS)[number];

type Machine<S extends string, E extends string> = Readonly<Record<E, Readonly<Partial<Record<S, S>>>>>;

const ROLLOUT: Machine<RolloutState, RolloutEvent> = {
  start: { planned: 'running' },
  /** The plan, or a wave that has passed, waits for another person's word. */
  submit: { planned: 'awaiting_approval', running: 'awaiting_approval' },
  approve: { awaiting_approval: 'running' },
  pause: { running: 'paused' },
  resume: { paused: 'running' },
  /** Leaves what it stands in without its cause being mended. */
  promote: { paused: 'running', halted: 'running', awaiting_approval: 'running' },
  // A target in flight may break the budget after a person has paused: that stop still needs a repair.
  halt: { running: 'halted', paused: 'halted', awaiting_approval: 'halted' },
  retry: { halted: 'running' },
  abort: {
    planned: 'aborted',
    awaiting_approval: 'aborted',
    running: 'aborted',
    paused: 'aborted',
    halted: 'aborted',
  },
  // From `planned` when nothing is behind: there is nothing to run.
  succeed: { planned: 'succeeded', running: 'succeeded' },
  undo: { paused: 'undoing', halted: 'undoing', succeeded: 'undoing', failed: 'undoing', aborted: 'undoing' },
  undone: { undoing: 'undone' },
  /** Its undo was aborted: some of its targets are taken back, the others not. */
  forsake: { undoing: 'aborted' },
};

const WAVE: Machine<WaveState, WaveEvent> = {
  start: { pending: 'running' },
  bake: { running: 'baking' },
  gate: { running: 'gating', baking: 'gating' },
  pass: { running: 'passed', baking: 'passed', gating: 'passed' },
  fail: { running: 'failed', baking: 'failed', gating: 'failed' },
  reopen: { failed: 'running', passed: 'running', baking: 'running', gating: 'running' },
};

const TARGET: Machine<TargetState, TargetEvent> = {
  claim: { pending: 'running', unknown: 'running' },
  verify: { running: 'verified', unknown: 'verified' },
  fail: { running: 'failed' },
  lose: { running: 'unreachable', unknown: 'unreachable', pending: 'unreachable' },
  /** It stopped between two steps because the rollout stands still: the rest waits. */
  yield: { running: 'pending' },
  /** Its backfill is held, and others need its place. */
  hold: { running: 'deferred' },
  /** Its worker lost the lease. */
  orphan: { running: 'unknown' },
  /** The database was asked: nothing, or not everything, is applied. */
  requeue: { unknown: 'pending' },
  retry: { failed: 'pending', unreachable: 'pending' },
  /** A person takes back that they have left it behind. */
  readmit: { skipped: 'pending' },
  /** Its tenant is away, or it is outside its window. */
  defer: { pending: 'deferred' },
  /** Its window has opened. */
  due: { deferred: 'pending' },
  skip: { pending: 'skipped', running: 'skipped', unknown: 'skipped' },
  /** A person leaves it behind. */
  leave: { pending: 'skipped', failed: 'skipped', unreachable: 'skipped', deferred: 'skipped' },
  /** A live tenant that is still behind at the end: resumed, or changed from outside. */
  join: { deferred: 'pending', skipped: 'pending', verified: 'pending' },
  /** Its database is where it was before. */
  undo: {
    verified: 'undone',
    failed: 'undone',
    unreachable: 'undone',
    skipped: 'undone',
    deferred: 'undone',
  },
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

export function rolloutSources(event: RolloutEvent): RolloutState[] {
  return sources(ROLLOUT, event);
}

function sources<S extends string, E extends string>(machine: Machine<S, E>, event: E): S[] {
  return Object.keys(machine[event]) as S[];
}

/** States in which a rollout is over for good. */
export const TERMINAL_STATES: readonly RolloutState[] = ['succeeded', 'failed', 'aborted', 'undone'];
/** States in which nothing more happens before somebody acts: watchers may leave. */
export const RESTING_STATES: readonly RolloutState[] = [...TERMINAL_STATES, 'halted'];
/** States of which the fleet has at most one rollout. While one is undoing, its undo is the active one. */
export const ACTIVE_STATES: readonly RolloutState[] = ['awaiting_approval', 'running', 'paused', 'halted'];

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
  verb: string = event,
): FleetError {
  return wrongState({ noun: 'rollout', name: id, state }, verb, sources(ROLLOUT, event), wayOn(id, state));
}

function wayOn(id: string, state: RolloutState): string {
  if (TERMINAL_STATES.includes(state))
    return 'start a new rollout: databases that are up to date are not run again';
  if (state === 'halted')
    return `repair the failing targets, then fleet rollout retry ${id}, or fleet rollout abort ${id}`;
  if (state === 'paused') return `fleet rollout resume ${id}, or fleet rollout abort ${id}`;
  if (state === 'planned') return `fleet rollout start ${id}`;
  if (state === 'awaiting_approval') return `fleet rollout approve ${id}, by somebody else than its author`;
  return `fleet rollout get ${id}`;
}

/** One at a time: `active` is the one that is not over. */
export function alreadyActive(active: { id: string; release: string; state: RolloutState }): FleetError {
  return new FleetError({
    code: 'rollout_active',
    status: 409,
    message: `rollout ${active.id} of release ${active.release} is ${active.state}; the fleet has one at a time`,
    fix: `wait for it with --queue, or end it: fleet rollout abort ${active.id}; to take its place: --supersede`,
  });
}
