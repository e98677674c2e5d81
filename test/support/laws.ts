import assert from 'node:assert/strict';
import type { BoundOperation, BoundStep } from '../../control-plane/operations/definition.ts';
import { createOperationDriver, type Probe, type ProbePoint } from '../../control-plane/operations/engine.ts';
import { retryOperation } from '../../control-plane/operations/operation.ts';
import { getOperation } from '../../control-plane/operations/store.ts';
import { SYSTEM_CALLER } from '../../control-plane/access/caller.ts';
import type { Registry } from '../../control-plane/registry/registry.ts';
import { FleetError } from '../../platform/errors.ts';
import { driveOnce } from './drive.ts';
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

/** Declares the suite for one operation. `steps` are the names in the definition's own table. */
export function obeysTheLaws(
  kind: string,
  definition: { steps: { name: string }[]; cancellable: boolean },
  subject: () => Subject,
): void {
  const steps = definition.steps.map((step) => step.name);
  const count = (): void => {
    cells.set(kind, (cells.get(kind) ?? 0) + 1);
  };

  describe(`the laws of ${kind}`, () => {
    it('does each step twice with the effect of once', async () => {
      const twice = wrapped(subject(), kind, (step) => ({
        ...step,
        do: async (context) => {
          await step.do(context);
          return step.do(context);
        },
      }));
      const id = await subject().begin();
      await drive(subject(), id, twice);
      await assertState(subject(), id, 'succeeded');
      await subject().settle(id);
      count();
    });

    for (const step of steps) {
      for (const moment of ['before-effect', 'after-effect'] as const) {
        it(`is taken over when its worker dies ${moment} of "${step}"`, async () => {
          const before = await subject().inventory();
          const id = await subject().begin();
          await crashAt(
            subject(),
            id,
            (point) => point.step === step && point.moment === moment && point.direction === 'forward',
          );
          await drive(subject(), id);
          await assertState(subject(), id, 'succeeded');
          await subject().settle(id);
          assert.deepEqual(await subject().inventory(), before);
          count();
        });

        it(`${definition.cancellable ? 'unwinds to a clean slate' : 'parks and goes on by retry'} when "${step}" fails ${moment}`, async () => {
          const before = await subject().inventory();
          const id = await subject().begin();
          await drive(subject(), id, failing(subject(), kind, step, moment));
          await assertState(subject(), id, 'failed');
          if (definition.cancellable) await subject().discard(id);
          else await retryToSuccess(subject(), id);
          assert.deepEqual(await subject().inventory(), before);
          count();
        });

        if (!definition.cancellable) continue;
        it(`is taken over when its worker dies ${moment} of undoing "${step}", each undo run twice`, async () => {
          const before = await subject().inventory();
          const id = await subject().begin();
          const operations = undoneTwice(
            subject(),
            kind,
            failing(subject(), kind, steps.at(-1) ?? '', 'after-effect'),
          );
          await crashAt(
            subject(),
            id,
            (point) => point.step === step && point.moment === moment && point.direction === 'backward',
            operations,
          );
          await drive(subject(), id, operations);
          await assertState(subject(), id, 'failed');
          await subject().discard(id);
          assert.deepEqual(await subject().inventory(), before);
          count();
        });
      }
    }
  });
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
  await driveOnce(subject.registry, driver, id);
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
  await subject.registry.transaction((tx) => retryOperation(tx, id, SYSTEM_CALLER, null, subject.operations));
  await drive(subject, id);
  await assertState(subject, id, 'succeeded');
  await subject.settle(id);
}

async function assertState(subject: Subject, id: string, expected: string): Promise<void> {
  const operation = await getOperation(subject.registry, id);
  assert.equal(operation?.state, expected, JSON.stringify(operation?.error ?? operation?.steps));
}
