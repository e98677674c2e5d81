import { z } from 'zod';
import { Instant } from '../../contract/page.ts';

export const Project = z.object({
  id: z.uuid(),
  name: z.string(),
  description: z.string().nullable(),
  archived: z.boolean(),
  version: z.number().int(),
  createdAt: Instant,
  updatedAt: Instant,
});
export type Project = z.infer<typeof Project>;

export const CreateProject = z.strictObject({
  name: z.string().trim().min(1).max(200),
  description: z.string().max(10_000).nullable().default(null),
});
export type CreateProject = z.infer<typeof CreateProject>;

/** Absent fields stay as they are. */
export const UpdateProject = z.strictObject({
  name: z.string().trim().min(1).max(200).optional(),
  description: z.string().max(10_000).nullable().optional(),
  archived: z.boolean().optional(),
});
export type UpdateProject = z.infer<typeof UpdateProject>;
