import type { z } from 'zod';
import type { Role } from '../../contract/access.ts';
import { FleetError, isRetryable, summarizeError } from '../../platform/errors.ts';
import { withLogContext, type LogContext, type Logger } from '../../platform/logging.ts';
import { backOffMs, sleep } from '../../platform/wait.ts';
import { audit } from '../audit/audit.ts';
import type { Registry } from '../registry/registry.ts';
import type { BoundOperation, BoundStep, EndError, StepContext } from './definition.ts';
import { wake, type Driver } from './driver.ts';
import { fencedStatement, LeaseLostError, type Lease } from './lease.ts';
import { endState, transitionOperation, type EndEvent } from './state.ts';
import {
  advance,
  finishOperation,
  loadOperation,
  parkOperation,
  type Advance,
  type RunnableOperation,
} from './store.ts';
import { overdue, WaitingError, type Wait } from './waiting.ts';

/**
 * Carries one operation:
 *
 *   forward:   start step ─▶ do ─▶ store output ─▶ start next … ─▶ succeeded
 *                  │ fails for good, or cancel asked
 *   backward:  undo the steps in reverse order ─▶ failed | cancelled
 *
 * A step that was running when its worker died is simply done again: steps are idempotent. One that waits for
 * somebody else (waiting.ts) is put aside and done again when it is time to look. An operation that may not be cancelled (deletion) is never turned round; it fails in place and `retry` goes on from there.
 */
export interface EngineOptions {
  registry: Registry;
  operations: ReadonlyMap<string, BoundOperation>;
  logger: Logger;
  /** Called around every effect; tests crash or kill the process here. */
  probe?: Probe;
}

/** Where in an operation's life the engine stands. */
export interface ProbePoint {
  operationId: string;
  kind: string;
  step: string;
  direction: 'forward' | 'backward';
  moment: 'before-effect' | 'after-effect';
}

/** Whatever it throws leaves the engine as a crash would: nothing more is written. */
export type Probe = (point: ProbePoint) => void | Promise<void>;

/**
 * Tries of a step within one run before it counts as failed; with the delays below about 12 s in all: long
 * enough for a server's restart, short enough that a person waiting at a terminal learns the truth.
 */
const TRIES_PER_RUN = 7;
const RETRY_DELAY = { firstMs: 200, maxMs: 4_000 };
/**
 * Starts of one step over all workers. Each death of a worker in a step costs one; a step that has killed
 * this many is poison and fails.
 */
const MAX_STARTS = 25;
/** The same for undoing it, on top. */
const MAX_UNDO_STARTS = 25;

/**
 * What a worker runs operations with: carries one on under its lease, to its end or until it must hand
 * over.
 */
export function createOperationDriver(options: EngineOptions): Driver {
  return {
    kind: 'operation',
    openIdsSql: `SELECT id::text FROM operations WHERE state IN ('queued', 'running')
                    AND (look_at IS NULL OR look_at <= now() OR (cancel_requested AND direction = 'forward'))`,
    drive: (id, lease) =>
      withLogContext({ operationId: id }, async () => {
        const operation = await loadOperation(options.registry, id);
        if (operation === undefined) return;
        await withLogContext(logContextOf(operation), () => driveOperation(options, operation, lease));
      }),
  };
}

interface Run {
  options: EngineOptions;
  lease: Lease;
  operation: RunnableOperation;
  definition: BoundOperation;
}

/** The request that asked for it, so that one id finds both programs' lines, and the tenant it is about. */
function logContextOf({ requestId, subject, subjectName }: RunnableOperation): LogContext {
  return {
    ...(requestId === null ? {} : { requestId }),
    ...(subject.startsWith('tenant:') ? { tenant: subjectName } : {}),
  };
}

async function driveOperation(
  options: EngineOptions,
  operation: RunnableOperation,
  lease: Lease,
): Promise<void> {
  if (operation.state !== 'queued' && operation.state !== 'running') return;
  const definition = options.operations.get(operation.kind);
  if (definition === undefined) {
    options.logger.error('this worker does not know the operation', { kind: operation.kind });
    return;
  }
  const run: Run = { options, lease, operation, definition };
  options.logger.info('operation taken', {
    kind: operation.kind,
    subject: operation.subjectName,
    epoch: lease.epoch,
  });
  if (operation.direction === 'forward') await goForward(run);
  else await goBackward(run, operation.error ?? cancelledError());
}

async function goForward(run: Run): Promise<void> {
  const { definition, operation, lease } = run;
  let finish: Advance['finish'];
  for (const [index, step] of definition.steps.entries()) {
    const stored = operation.steps[index];
    if (stored === undefined) throw new Error(`operation ${operation.id} has no step ${index}`);
    if (stored.state === 'done') continue;
    if (lease.stopping.aborted) break;
    const { cancelRequested } = await write(run, {
      finish,
      start: { ordinal: stored.ordinal, direction: 'forward' },
    });
    finish = undefined;
    stored.state = 'running';
    stored.tries += 1;
    if (cancelRequested && definition.cancellable) return turnRound(run, stored.ordinal, cancelledError());
    if (stored.tries > MAX_STARTS) return failStep(run, stored.ordinal, poisonError(step.name, stored.tries));
    const result = await attempt(run, step, 'forward');
    if (result === HANDED_OVER) return;
    if ('wait' in result) return park(run, stored.ordinal, result.wait);
    if ('error' in result) return failStep(run, stored.ordinal, result.error);
    stored.state = 'done';
    stored.output = result.output;
    finish = { ordinal: stored.ordinal, state: 'done', output: result.output ?? null };
  }
  if (finish !== undefined) await write(run, { finish });
  if (operation.steps.every((step) => step.state === 'done')) await end(run, 'succeed', null);
}

/** The step cannot be done: undo everything, or stay failed where the operation only goes forward. */
async function failStep(run: Run, ordinal: number, error: EndError): Promise<void> {
  if (run.definition.cancellable) return turnRound(run, ordinal, error);
  await write(run, { finish: { ordinal, state: 'failed', error } });
  await end(run, 'fail', error);
}

async function turnRound(run: Run, ordinal: number, error: EndError): Promise<void> {
  await write(run, { finish: { ordinal, state: 'failed', error }, turn: error });
  const stored = run.operation.steps.find((step) => step.ordinal === ordinal);
  if (stored !== undefined) stored.state = 'failed';
  await goBackward(run, error);
}

async function goBackward(run: Run, because: EndError): Promise<void> {
  const { definition, operation, lease } = run;
  let finish: Advance['finish'];
  for (const [index, step] of [...definition.steps.entries()].reverse()) {
    const stored = operation.steps[index];
    if (stored === undefined || stored.state === 'pending' || stored.state === 'undone') continue;
    if (lease.stopping.aborted) break;
    await write(run, { finish, start: { ordinal: stored.ordinal, direction: 'backward' } });
    finish = undefined;
    stored.tries += 1;
    const isPoison = stored.tries > MAX_STARTS + MAX_UNDO_STARTS;
    const result = isPoison
      ? { error: poisonError(step.name, stored.tries) }
      : await attempt(run, step, 'backward');
    if (result === HANDED_OVER) return;
    if ('wait' in result) return park(run, stored.ordinal, result.wait);
    if ('error' in result) {
      const error = {
        ...result.error,
        message: `${because.message}; and undoing "${step.name}" failed: ${result.error.message}`,
      };
      await write(run, { finish: { ordinal: stored.ordinal, state: 'failed', error: result.error } });
      return end(run, 'fail', error);
    }
    stored.state = 'undone';
    finish = { ordinal: stored.ordinal, state: 'undone' };
  }
  if (finish !== undefined) await write(run, { finish });
  if (operation.steps.every((step) => step.state === 'undone' || step.state === 'pending')) {
    await end(run, because.code === CANCELLED ? 'cancel' : 'fail', because);
  }
}

/** Puts the operation aside until it is time to look again; the lease is free meanwhile. */
async function park({ options, operation, lease }: Run, ordinal: number, wait: Wait): Promise<void> {
  await lease.transaction(async (tx) => {
    const lookAt = await parkOperation(tx, operation.id, ordinal, wait);
    await wake(tx, 'operation', operation.id, lookAt);
  });
  options.logger.debug('operation waits', { kind: operation.kind, waitingFor: wait.what });
}

async function write(run: Run, change: Advance): Promise<{ cancelRequested: boolean }> {
  const { options, operation, lease } = run;
  const answer = await fencedStatement(lease, () => advance(options.registry, operation.id, lease, change));
  operation.state = transitionOperation(operation.state, 'start') ?? operation.state;
  if (change.finish !== undefined || change.turn !== undefined) operation.waitedMs = null;
  return answer;
}

/** The process stops while the step still has tries left: it stays as it is, and the next owner repeats it. */
const HANDED_OVER = 'handed-over';

type Result = { output: unknown } | { error: EndError } | { wait: Wait } | typeof HANDED_OVER;

/** Does or undoes one step, trying again with back-off while the error may pass. */
async function attempt(run: Run, step: BoundStep, direction: 'forward' | 'backward'): Promise<Result> {
  const { options, lease, operation } = run;
  const point = { operationId: operation.id, kind: operation.kind, step: step.name, direction } as const;
  for (let tries = 1; ; tries += 1) {
    await options.probe?.({ ...point, moment: 'before-effect' });
    let output: unknown;
    try {
      const context = stepContext(run);
      output = direction === 'forward' ? await step.do(context) : await step.undo(context);
    } catch (error) {
      if (error instanceof LeaseLostError) throw error;
      if (lease.signal.aborted) throw new LeaseLostError(lease.resource, error);
      if (error instanceof WaitingError) return waitOrGiveUp(error.wait, operation.waitedMs);
      const summary = summarizeError(error);
      options.logger.warn('step failed', { ...point, tries, error });
      // Undo must get through: an unexpected error is tried again too before a person is called.
      const again = isRetryable(error) || (direction === 'backward' && !(error instanceof FleetError));
      if (!again || tries >= TRIES_PER_RUN) return { error: summary };
      // Ends early when the process stops or the lease is lost.
      await sleep(backOffMs(tries, RETRY_DELAY), lease.stopping);
      if (lease.stopping.aborted) return HANDED_OVER;
      continue;
    }
    await options.probe?.({ ...point, moment: 'after-effect' });
    return { output };
  }
}

function waitOrGiveUp(wait: Wait, waitedMs: number | null): Result {
  const error = overdue(wait, waitedMs);
  return error === undefined ? { wait } : { error };
}

function stepContext(run: Run): StepContext<unknown> {
  const { options, lease, operation } = run;
  return {
    operationId: operation.id,
    input: operation.input,
    actor: operation.actor,
    requestId: operation.requestId,
    signal: lease.signal,
    logger: options.logger,
    transaction: (work) => lease.transaction(work),
    output: <T>(name: string, schema: z.ZodType<T>): T =>
      schema.parse(operation.steps.find((step) => step.name === name)?.output),
  };
}

/** Ends the operation. What goes wrong for good in doing so becomes its error: it must not be tried for ever. */
async function end(run: Run, event: EndEvent, error: EndError | null): Promise<void> {
  try {
    await conclude(run, event, error, true);
  } catch (failure) {
    if (failure instanceof LeaseLostError || isRetryable(failure)) throw failure;
    run.options.logger.error('the operation could not be ended as it should', { error: failure });
    const { code, message } = summarizeError(failure);
    const before = error === null ? '' : `${error.message}; and `;
    await conclude(run, 'fail', { code, message: `${before}ending it failed: ${message}` }, false);
  }
}

async function conclude(run: Run, event: EndEvent, error: EndError | null, tidy: boolean): Promise<void> {
  const { operation, definition, lease, options } = run;
  const state = endState(operation.state, event);
  await lease.transaction(async (tx) => {
    const isUnwound = tidy && definition.cancellable && (state === 'failed' || state === 'cancelled');
    if (isUnwound && error !== null) {
      await definition.unwound(tx, operation.input, { state, error });
    }
    await finishOperation(tx, operation.id, operation.state, event, error);
    audit(tx, {
      actor: operation.actor,
      // The role was checked against the database's own list when the operation was stored.
      actorRole: operation.actorRole as Role,
      action: `${operation.kind}.${state}`,
      resource: auditResource(operation),
      region: operation.region,
      after: {
        operation: operation.id,
        subject: operation.subject,
        ...(error === null ? {} : { error }),
      },
      requestId: operation.requestId,
    });
  });
  options.logger.info('operation ended', { kind: operation.kind, state, subject: operation.subjectName });
}

/** By name, as the request's own entry: one filter shows how a change began and how it ended. */
function auditResource({ subject, subjectName }: RunnableOperation): string {
  return `${subject.slice(0, subject.indexOf(':'))}:${subjectName}`;
}

const CANCELLED = 'cancelled';

function cancelledError(): EndError {
  return { code: CANCELLED, message: 'the operation was cancelled' };
}

function poisonError(step: string, starts: number): EndError {
  return {
    code: 'step_is_poison',
    message: `step "${step}" was started ${starts} times and never ended: it may be killing its workers`,
    fix: "read the workers' logs, then retry the operation",
  };
}
