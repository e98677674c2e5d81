import { z } from 'zod';

/** The body of every error answer: RFC 9457 with our stable `code`, the mending `fix` and the request's id. */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  code: z.string(),
  detail: z.string(),
  fix: z.string().optional(),
  requestId: z.string(),
  errors: z
    .array(z.object({ path: z.string(), message: z.string(), code: z.string().optional() }))
    .optional(),
});
export type Problem = z.infer<typeof Problem>;

/** An error as it is kept with an operation, a step or a target. */
export const StoredError = z.object({ code: z.string(), message: z.string(), fix: z.string().optional() });
export type StoredError = z.infer<typeof StoredError>;
