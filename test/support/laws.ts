import assert from 'node:assert/strict';
import type { BoundOperation, BoundStep } from '../../control-plane/operations/definition.ts';
import { createOperationDriver, type Probe, type ProbePoint } from '../../control-plane/operations/engine.ts';
import { retryOperation } from '../../control-plane/operations/operation.ts';
import { getOperation } from '../../control-plane/operations/store.ts';
import { SYSTEM_CALLER } from '../../control-plane/access/caller.ts';
import type { Registry } from '../../control-plane/registry/registry.ts';
import { FleetError } from '../../platform/errors.ts';
import { driveToEnd } from './drive.ts';
import { quietLogger } from './registry.ts';

/**
 * The laws that every durable operation obeys, after omicron's saga test helpers. The cells of the matrix
 * (step × direction × before/after its effect) come from the operation's own table of steps, so that a new
 * step has its cells without anyone writing them.
 */
export interface Subject {
  registry: Registry;
  operations: ReadonlyMap<string, BoundOperation>;
  /** Queues one operation on a fresh subject, with nobody working, and answers its id. */
  begin(): Promise<string>;
  /** Everything that the operation could leave behind: databases, roles, locks, sessions, rows. Sorted. */
  inventory(): Promise<string[]>;
  /** What must hold after success; then removes the subject again, so that the inventory is as before. */
  settle(operationId: string): Promise<void>;
  /** Removes what is left of a subject whose operation failed for good (for operations that do not undo). */
  discard(operationId: string): Promise<void>;
}

/** Cells that were run, by operation; printed at the end of the run. */
export const cells = new Map<string, number>();

class Crash extends Error {}

function injected(): FleetError {
  return new FleetError({ code: 'injected', status: 500, message: 'injected by the laws' });
}

type Moment = ProbePoint['moment'];
const MOMENTS: Moment[] = ['before-effect', 'after-effect'];

/** What the suite is about: the definition's own table of steps decides which cells there are. */
interface Declared {
  steps: { name: string }[];
  cancellable: boolean;
}

/** Declares the suite for one operation. */
export function obeysTheLaws(kind: string, definition: Declared, subject: () => Subject): void {
  describe(`the laws of ${kind}`, () => {
    cell(kind, 'does each step twice with the effect of once', () => eachStepTwice(kind, subject()));
    for (const { name } of definition.steps) {
      for (const moment of MOMENTS) {
        cell(kind, `is taken over when its worker dies ${moment} of "${name}"`, () =>
          diesForward(subject(), name, moment),
        );
        if (!definition.cancellable) {
          cell(kind, `parks and goes on by retry when "${name}" fails ${moment}`, () =>
            failsAndGoesOn(kind, subject(), name, moment),
          );
          continue;
        }
        cell(kind, `unwinds to a clean slate when "${name}" fails ${moment}`, () =>
          failsAndUnwinds(kind, subject(), name, moment),
        );
        cell(
          kind,
          `is taken over when its worker dies ${moment} of undoing "${name}", each undo run twice`,
          () =>
            diesBackward(kind, subject(), { step: name, moment, last: definition.steps.at(-1)?.name ?? '' }),
        );
      }
    }
  });
}

function cell(kind: string, title: string, law: () => Promise<void>): void {
  it(title, async () => {
    await law();
    cells.set(kind, (cells.get(kind) ?? 0) + 1);
  });
}

async function eachStepTwice(kind: string, subject: Subject): Promise<void> {
  const twice = wrapped(subject, kind, (step) => ({
    ...step,
    do: async (context) => {
      await step.do(context);
      return step.do(context);
    },
  }));
  const id = await subject.begin();
  await drive(subject, id, twice);
  await assertState(subject, id, 'succeeded');
  await subject.settle(id);
}

async function diesForward(subject: Subject, step: string, moment: Moment): Promise<void> {
  const before = await subject.inventory();
  const id = await subject.begin();
  await crashAt(subject, id, isAt({ step, moment, direction: 'forward' }));
  await drive(subject, id);
  await assertState(subject, id, 'succeeded');
  await subject.settle(id);
  assert.deepEqual(await subject.inventory(), before);
}

async function failsAndUnwinds(kind: string, subject: Subject, step: string, moment: Moment): Promise<void> {
  const before = await subject.inventory();
  const id = await subject.begin();
  await drive(subject, id, failing(subject, kind, step, moment));
  await assertState(subject, id, 'failed');
  await subject.discard(id);
  assert.deepEqual(await subject.inventory(), before);
}

async function failsAndGoesOn(kind: string, subject: Subject, step: string, moment: Moment): Promise<void> {
  const before = await subject.inventory();
  const id = await subject.begin();
  await drive(subject, id, failing(subject, kind, step, moment));
  await assertState(subject, id, 'failed');
  await retryToSuccess(subject, id);
  assert.deepEqual(await subject.inventory(), before);
}

async function diesBackward(
  kind: string,
  subject: Subject,
  at: { step: string; moment: Moment; last: string },
): Promise<void> {
  const before = await subject.inventory();
  const id = await subject.begin();
  const operations = undoneTwice(subject, kind, failing(subject, kind, at.last, 'after-effect'));
  await crashAt(subject, id, isAt({ step: at.step, moment: at.moment, direction: 'backward' }), operations);
  await drive(subject, id, operations);
  await assertState(subject, id, 'failed');
  await subject.discard(id);
  assert.deepEqual(await subject.inventory(), before);
}

function isAt(wanted: Pick<ProbePoint, 'step' | 'moment' | 'direction'>): (point: ProbePoint) => boolean {
  return (point) =>
    point.step === wanted.step && point.moment === wanted.moment && point.direction === wanted.direction;
}

type Operations = ReadonlyMap<string, BoundOperation>;

function wrapped(
  subject: Subject,
  kind: string,
  wrap: (step: BoundStep) => BoundStep,
  base?: Operations,
): Operations {
  const operations = new Map(base ?? subject.operations);
  const operation = operations.get(kind);
  if (operation === undefined) throw new Error(`${kind} is not among the operations`);
  operations.set(kind, { ...operation, steps: operation.steps.map(wrap) });
  return operations;
}

function failing(subject: Subject, kind: string, name: string, moment: ProbePoint['moment']): Operations {
  return wrapped(subject, kind, (step) => ({
    ...step,
    do: async (context) => {
      if (step.name === name && moment === 'before-effect') throw injected();
      const output = await step.do(context);
      if (step.name === name) throw injected();
      return output;
    },
  }));
}

function undoneTwice(subject: Subject, kind: string, base: Operations): Operations {
  return wrapped(
    subject,
    kind,
    (step) => ({
      ...step,
      undo: async (context) => {
        await step.undo(context);
        await step.undo(context);
      },
    }),
    base,
  );
}

async function drive(
  subject: Subject,
  id: string,
  operations: Operations = subject.operations,
  probe?: Probe,
): Promise<void> {
  const driver = createOperationDriver({
    registry: subject.registry,
    operations,
    logger: quietLogger,
    ...(probe === undefined ? {} : { probe }),
  });
  await driveToEnd(subject.registry, driver, id);
}

async function crashAt(
  subject: Subject,
  id: string,
  here: (point: ProbePoint) => boolean,
  operations?: Operations,
): Promise<void> {
  const crash: Probe = (point) => {
    if (here(point)) throw new Crash();
  };
  await assert.rejects(drive(subject, id, operations, crash), Crash);
}

async function retryToSuccess(subject: Subject, id: string): Promise<void> {
  await subject.registry.transaction((tx) =>
    retryOperation(tx, id, subject.operations, { caller: SYSTEM_CALLER, requestId: null }),
  );
  await drive(subject, id);
  await assertState(subject, id, 'succeeded');
  await subject.settle(id);
}

async function assertState(subject: Subject, id: string, expected: string): Promise<void> {
  const operation = await getOperation(subject.registry, id);
  assert.equal(operation?.state, expected, JSON.stringify(operation?.error ?? operation?.steps));
}
