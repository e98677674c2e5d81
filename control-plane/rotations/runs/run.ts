import type {
  RotationCounts,
  RotationState,
  RotationTargetState,
  StartRotation,
} from '../../../contract/rotation.ts';
import { FleetError, type ErrorSummary } from '../../../platform/errors.ts';
import type { Caller } from '../../access/caller.ts';

/** Many tenants' credentials rotated by one request, or because the policy of their tiers says so. */
export interface RunRecord extends Pick<StartRotation, 'match' | 'parallel' | 'perServer' | 'now'> {
  id: string;
  state: RotationState;
  /** Regions of whoever asked; null = all. */
  regions: string[] | null;
  scheduled: boolean;
  reason: string | null;
  /** In whose name its operations are started. */
  caller: Caller;
  requestId: string | null;
  /** What asked it to stop: it begins nothing more. */
  stop: ErrorSummary | null;
  error: ErrorSummary | null;
  createdAt: Date;
  startedAt: Date | null;
  finishedAt: Date | null;
}

export type RunEvent = 'start' | 'succeed' | 'fail' | 'cancel';

const RUN: Record<RotationState, Partial<Record<RunEvent, RotationState>>> = {
  queued: { start: 'running', fail: 'failed', cancel: 'cancelled' },
  // Started again by the next owner.
  running: { start: 'running', succeed: 'succeeded', fail: 'failed', cancel: 'cancelled' },
  succeeded: {},
  failed: {},
  cancelled: {},
};

/** The state after `event`, or undefined when the event has no meaning in this state. Total and pure. */
export function transitionRun(state: RotationState, event: RunEvent): RotationState | undefined {
  return RUN[state][event];
}

export type TargetEvent = 'start' | 'rotate' | 'fail' | 'defer' | 'skip';

const TARGET: Record<RotationTargetState, Partial<Record<TargetEvent, RotationTargetState>>> = {
  pending: { start: 'running', fail: 'failed', defer: 'deferred', skip: 'skipped' },
  running: { rotate: 'rotated', fail: 'failed' },
  deferred: { start: 'running', fail: 'failed', defer: 'deferred', skip: 'skipped' },
  rotated: {},
  failed: {},
  skipped: {},
};

/** The same of a target: a tenant in a run. */
export function transitionTarget(
  state: RotationTargetState,
  event: TargetEvent,
): RotationTargetState | undefined {
  return TARGET[state][event];
}

/** The states that the event may start from: updates carry them as the expected old state. */
export function targetSources(event: TargetEvent): RotationTargetState[] {
  return (Object.keys(TARGET) as RotationTargetState[]).filter((state) => TARGET[state][event] !== undefined);
}

/** The state that the event leads to; it is the same from wherever it may start. */
export function targetAfter(event: TargetEvent): RotationTargetState {
  const [state] = targetSources(event);
  const next = state === undefined ? undefined : TARGET[state][event];
  if (next === undefined) throw new Error(`${event} leads nowhere`);
  return next;
}

export const NO_TARGETS: RotationCounts = {
  ...{ pending: 0, running: 0, rotated: 0, failed: 0, deferred: 0, skipped: 0 },
};

/** @returns 404 `rotation_not_found` */
export function rotationNotFound(id: string): FleetError {
  return new FleetError({
    code: 'rotation_not_found',
    status: 404,
    message: `there is no rotation run ${id}`,
    fix: 'fleet rotation list',
  });
}
