import { z } from 'zod';
import { Instant } from './page.ts';
import { StoredError } from './problem.ts';

export const OPERATION_STATES = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;
export const OperationState = z.enum(OPERATION_STATES);
export type OperationState = z.infer<typeof OperationState>;

export const STEP_STATES = ['pending', 'running', 'done', 'failed', 'undone'] as const;
export const StepState = z.enum(STEP_STATES);
export type StepState = z.infer<typeof StepState>;

export const OperationStep = z.object({
  name: z.string(),
  state: StepState,
  tries: z.number().int(),
  error: StoredError.nullable(),
  startedAt: Instant.nullable(),
  finishedAt: Instant.nullable(),
});
export type OperationStep = z.infer<typeof OperationStep>;

/** What a running operation waits for that somebody else brings about, such as AWS. */
export const OperationWait = z.object({ for: z.string(), since: Instant, nextLook: Instant });

export const Operation = z.object({
  id: z.uuid(),
  kind: z.string(),
  state: OperationState,
  direction: z.enum(['forward', 'backward']),
  /** `tenant:<id>` or `server:<id>`. */
  subject: z.string(),
  subjectName: z.string(),
  region: z.string(),
  error: StoredError.nullable(),
  cancelRequested: z.boolean(),
  waiting: OperationWait.nullable(),
  actor: z.string(),
  requestId: z.string().nullable(),
  attempt: z.number().int(),
  steps: z.array(OperationStep),
  createdAt: Instant,
  startedAt: Instant.nullable(),
  finishedAt: Instant.nullable(),
});
export type Operation = z.infer<typeof Operation>;

export const OperationFilter = z.object({
  state: OperationState.optional(),
  kind: z.string().optional(),
  subject: z.string().optional(),
  /** Only operations that ended after this instant. */
  finishedAfter: Instant.optional(),
});
export type OperationFilter = z.infer<typeof OperationFilter>;
