import type { z } from 'zod';
import type { Logger } from '../../platform/logging.ts';
import type { Transaction } from '../registry/registry.ts';

/**
 * A durable operation, read from the top: the table of its steps, then their functions in that order.
 * `Input` holds every id that the steps need, made when the operation was created: a repeated step finds
 * what it made. It is stored in plain form: no secret ever stands in it.
 */
export interface OperationDefinition<Input, Deps> {
  /** `noun.verb`, e.g. `tenant.create`. */
  kind: string;
  input: z.ZodType<Input>;
  steps: Step<Input, Deps>[];
  /** Whether a cancel is obeyed between steps; without it the operation only goes forward, as deletion does. */
  cancellable: boolean;
  /** Runs in the transaction that ends a cancellable operation as failed or cancelled, after its steps are undone. */
  unwound?: (
    tx: Transaction,
    input: Input,
    end: { state: 'failed' | 'cancelled'; error: EndError },
    deps: Deps,
  ) => Promise<void>;
  /** Runs in the transaction that queues a failed operation again. May throw a FleetError to refuse. */
  retried?: (tx: Transaction, input: Input, deps: Deps) => Promise<void>;
}

export interface EndError {
  code: string;
  message: string;
  fix?: string | undefined;
}

/** An idempotent piece of work; its output is stored before the next step starts. */
export interface Step<Input, Deps> {
  name: string;
  do: (context: StepContext<Input>, deps: Deps) => Promise<unknown>;
  /** The inverse. Harmless when run twice, and when `do` had no effect or half of it. Absent: nothing to undo. */
  undo?: (context: StepContext<Input>, deps: Deps) => Promise<void>;
}

/** All that a step may know of the engine. */
export interface StepContext<Input> {
  operationId: string;
  input: Input;
  actor: string;
  requestId: string | null;
  /** Aborted when ownership is lost or the process must stop now: no effect may be started afterwards. */
  signal: AbortSignal;
  logger: Logger;
  /** A registry transaction that begins with the fence: it fails when another worker has taken over. */
  transaction: <T>(work: (tx: Transaction) => Promise<T>) => Promise<T>;
  /** The stored output of an earlier step. */
  output: <T>(step: string, schema: z.ZodType<T>) => T;
}

/** A definition with its dependencies, as the engine holds it. */
export interface BoundOperation {
  kind: string;
  cancellable: boolean;
  steps: BoundStep[];
  unwound: (
    tx: Transaction,
    input: unknown,
    end: { state: 'failed' | 'cancelled'; error: EndError },
  ) => Promise<void>;
  retried: (tx: Transaction, input: unknown) => Promise<void>;
}

export interface BoundStep {
  name: string;
  do: (context: StepContext<unknown>) => Promise<unknown>;
  undo: (context: StepContext<unknown>) => Promise<void>;
}

/** Binds a definition to what it needs and checks stored inputs on the way in. */
export function bindOperation<Input, Deps>(
  definition: OperationDefinition<Input, Deps>,
  deps: Deps,
): BoundOperation {
  const typed = (context: StepContext<unknown>): StepContext<Input> => ({
    ...context,
    input: definition.input.parse(context.input),
  });
  return {
    kind: definition.kind,
    cancellable: definition.cancellable,
    steps: definition.steps.map((step) => ({
      name: step.name,
      do: (context) => step.do(typed(context), deps),
      undo: async (context) => step.undo?.(typed(context), deps),
    })),
    unwound: async (tx, input, end) => definition.unwound?.(tx, definition.input.parse(input), end, deps),
    retried: async (tx, input) => definition.retried?.(tx, definition.input.parse(input), deps),
  };
}
