import { OPERATION_STATES, type OperationState } from '../../contract/operation.ts';

export type OperationEvent = 'start' | 'succeed' | 'fail' | 'cancel' | 'retry';

const TRANSITIONS: Record<OperationState, Partial<Record<OperationEvent, OperationState>>> = {
  queued: { start: 'running', cancel: 'cancelled', fail: 'failed' },
  running: { start: 'running', succeed: 'succeeded', fail: 'failed', cancel: 'cancelled' },
  succeeded: {},
  failed: { retry: 'queued' },
  cancelled: { retry: 'queued' },
};

/** The state after `event`, or undefined when the event has no meaning in this state. Total and pure. */
export function transitionOperation(
  state: OperationState,
  event: OperationEvent,
): OperationState | undefined {
  return TRANSITIONS[state][event];
}

/** The states that the event may start from: updates carry them as the expected old state. */
export function operationSources(event: OperationEvent): OperationState[] {
  return OPERATION_STATES.filter((state) => transitionOperation(state, event) !== undefined);
}

export type EndEvent = 'succeed' | 'fail' | 'cancel';

/** The state that an operation ends in. An event without meaning in `from` is a fault of the caller. */
export function endState(from: OperationState, event: EndEvent): OperationState {
  const state = transitionOperation(from, event);
  if (state === undefined) throw new Error(`an operation that is ${from} cannot ${event}`);
  return state;
}
