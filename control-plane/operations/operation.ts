import { FleetError, SQLSTATE, sqlState } from '../../platform/errors.ts';
import type { Asker, Caller } from '../access/caller.ts';
import { auditAsked } from '../audit/audit.ts';
import { wrongState } from '../http/conflict.ts';
import type { Transaction } from '../registry/registry.ts';
import type { BoundOperation } from './definition.ts';
import { wake } from './driver.ts';
import { operationSources, transitionOperation, type OperationEvent } from './state.ts';
import {
  findNewerOperation,
  findOpenOperation,
  insertOperation,
  loadOperation,
  lockOperation,
  requestCancel,
  requeueOperation,
  type RunnableOperation,
} from './store.ts';

export interface StartOperation {
  id: string;
  definition: { kind: string; steps: { name: string }[] };
  /** `tenant:<id>` or `server:<id>`: one operation at a time on each. */
  subject: string;
  subjectName: string;
  region: string;
  input: object;
  caller: Caller;
  requestId: string | null;
}

/**
 * Stores the operation and wakes a worker, in the transaction that acknowledges it. The caller audits what
 * the operation means to the user.
 * @throws FleetError 409 `operation_in_progress` when the subject already has an open operation.
 */
export async function startOperation(tx: Transaction, request: StartOperation): Promise<void> {
  const open = await findOpenOperation(tx, request.subject);
  if (open !== undefined) throw inProgress(request.subjectName, open);
  try {
    await insertOperation(tx, {
      ...request,
      kind: request.definition.kind,
      steps: request.definition.steps.map((step) => step.name),
      actor: request.caller.name,
      actorRole: request.caller.role,
    });
  } catch (error) {
    // Two requests at one instant: the unique index lets one through.
    if (sqlState(error) === SQLSTATE.uniqueViolation) throw inProgress(request.subjectName, undefined);
    throw error;
  }
  await wake(tx, 'operation', request.id);
}

/** @returns 409 `operation_in_progress` */
export function inProgress(name: string, open: { id: string; kind: string } | undefined): FleetError {
  return new FleetError({
    code: 'operation_in_progress',
    status: 409,
    message:
      open === undefined ? `${name} is being changed right now` : `${name} is being changed by ${open.kind}`,
    fix: open === undefined ? 'try again in a moment' : `fleet operation get ${open.id} --wait`,
    retryable: true,
  });
}

/**
 * Queues a failed or cancelled operation again: what was undone is done anew, what was left half undone is
 * undone to the end. Asking again while it is queued or runs changes nothing.
 */
export async function retryOperation(
  tx: Transaction,
  id: string,
  operations: ReadonlyMap<string, BoundOperation>,
  asker: Asker,
): Promise<void> {
  const operation = await lockAndLoad(tx, id);
  if (operation.state === 'queued' || operation.state === 'running') return;
  if (transitionOperation(operation.state, 'retry') === undefined) {
    throw inWrongState(operation, 'retry');
  }
  const newer = await findNewerOperation(tx, operation);
  if (newer !== undefined) throw superseded(operation, newer);
  const halfUndone = operation.direction === 'backward' && operation.steps.some(isLeftOver);
  const definition = operations.get(operation.kind);
  if (halfUndone) {
    await requeueOperation(tx, id, 'backward', false);
  } else {
    await requeueOperation(tx, id, 'forward', operation.direction === 'backward');
    await definition?.retried(tx, operation.input);
  }
  auditAsked(tx, asker, {
    action: 'operation.retry',
    resource: `operation:${id}`,
    region: operation.region,
    before: { state: operation.state },
    after: { state: 'queued', direction: halfUndone ? 'backward' : 'forward' },
  });
  await wake(tx, 'operation', id);
}

/** What was done since stands on other ground: an old suspension must not lock out a tenant that was resumed. */
function superseded(operation: RunnableOperation, newer: { id: string; kind: string }): FleetError {
  return new FleetError({
    code: 'operation_superseded',
    status: 409,
    message: `${operation.subjectName} has been changed by ${newer.kind} since; ${operation.kind} is not repeated`,
    fix: `fleet operation get ${newer.id}`,
  });
}

function isLeftOver(step: RunnableOperation['steps'][number]): boolean {
  return step.state !== 'undone' && step.state !== 'pending';
}

/**
 * Asks the operation to stop at its next step and undo what it did.
 * @throws FleetError 409 `wrong_state` when it is over, `not_cancellable` when it only goes forward
 */
export async function cancelOperation(
  tx: Transaction,
  id: string,
  operations: ReadonlyMap<string, BoundOperation>,
  asker: Asker,
): Promise<void> {
  const operation = await lockAndLoad(tx, id);
  if (operation.state === 'cancelled') return;
  const definition = operations.get(operation.kind);
  if (transitionOperation(operation.state, 'cancel') === undefined) throw inWrongState(operation, 'cancel');
  if (definition?.cancellable !== true) {
    throw new FleetError({
      code: 'not_cancellable',
      status: 409,
      message: `${operation.kind} only goes forward and cannot be cancelled`,
      fix: `fleet operation get ${id}`,
    });
  }
  await requestCancel(tx, id);
  auditAsked(tx, asker, {
    action: 'operation.cancel',
    resource: `operation:${id}`,
    region: operation.region,
    before: { state: operation.state },
  });
  await wake(tx, 'operation', id);
}

function inWrongState({ id, state }: RunnableOperation, event: OperationEvent): FleetError {
  return wrongState({ noun: 'operation', name: id, state }, event, operationSources(event));
}

async function lockAndLoad(tx: Transaction, id: string): Promise<RunnableOperation> {
  await lockOperation(tx, id);
  const operation = await loadOperation(tx, id);
  if (operation === undefined) throw operationNotFound(id);
  return operation;
}

/** @returns 404 `operation_not_found` */
export function operationNotFound(id: string): FleetError {
  return new FleetError({
    code: 'operation_not_found',
    status: 404,
    message: `there is no operation ${id}`,
    fix: 'fleet operation list',
  });
}
