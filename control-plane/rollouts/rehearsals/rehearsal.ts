import type {
  LockMode,
  RehearsalOutcome,
  RehearsalState,
  RehearsedLock,
  RehearsedMigration,
  RehearsedRewrite,
} from '../../../contract/rehearsal.ts';
import { LOCK_MODES } from '../../../contract/rehearsal.ts';
import { FleetError, type ErrorSummary } from '../../../platform/errors.ts';

/**
 * A rehearsal tries a rollout's migrations on its targets and takes everything back.
 *
 *   queued ─start─▶ running ─succeed─▶ succeeded;  queued | running ─fail─▶ failed
 *
 * What it says of a target is stored as soon as it is known; the next owner of one that was interrupted goes on with
 * the others.
 */
export type RehearsalEvent = 'start' | 'succeed' | 'fail';

const TRANSITIONS: Record<RehearsalState, Partial<Record<RehearsalEvent, RehearsalState>>> = {
  queued: { start: 'running', fail: 'failed' },
  running: { start: 'running', succeed: 'succeeded', fail: 'failed' },
  succeeded: {},
  failed: {},
};

/** The state after `event`, or undefined when the event has no meaning in this state. Total and pure. */
export function transitionRehearsal(
  state: RehearsalState,
  event: RehearsalEvent,
): RehearsalState | undefined {
  return TRANSITIONS[state][event];
}

/** What bounds the harm that a rehearsal can do to a live tenant; milliseconds. */
export interface Limits {
  lockTimeoutMs: number;
  maxHoldMs: number;
}

/** What a try on one database has shown. */
export interface Rehearsed {
  outcome: RehearsalOutcome;
  reason: string | null;
  error: ErrorSummary | null;
  migrations: RehearsedMigration[];
  lockWaitMs: number | null;
  heldMs: number | null;
  locks: RehearsedLock[];
  rewrites: RehearsedRewrite[];
}

/** A target of which nothing could be measured. */
export function unmeasured(
  outcome: RehearsalOutcome,
  why: { reason?: string; error?: ErrorSummary },
): Rehearsed {
  return {
    outcome,
    reason: why.reason ?? null,
    error: why.error ?? null,
    ...{ migrations: [], lockWaitMs: null, heldMs: null, locks: [], rewrites: [] },
  };
}

export function isStronger(a: LockMode, b: LockMode | null | undefined): boolean {
  return b === null || b === undefined || LOCK_MODES.indexOf(a) > LOCK_MODES.indexOf(b);
}

export function rehearsalNotFound(id: string): FleetError {
  return new FleetError({
    code: 'rehearsal_not_found',
    status: 404,
    message: `the rollout has no rehearsal ${id}`,
    fix: 'fleet rollout rehearse ROLLOUT',
  });
}
