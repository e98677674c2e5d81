import { z } from 'zod';
import { Instant } from '../../contract/page.ts';

export const Task = z.object({
  id: z.uuid(),
  projectId: z.uuid(),
  title: z.string(),
  done: z.boolean(),
  /** A day, YYYY-MM-DD. */
  dueOn: z.iso.date().nullable(),
  version: z.number().int(),
  createdAt: Instant,
  updatedAt: Instant,
});
export type Task = z.infer<typeof Task>;

export const CreateTask = z.strictObject({
  title: z.string().trim().min(1).max(500),
  done: z.boolean().default(false),
  dueOn: z.iso.date().nullable().default(null),
});
export type CreateTask = z.infer<typeof CreateTask>;

/** 1,000 tasks of the longest titles fit into the 1 MB that a request may have, and into one statement. */
const MAX_BULK = 1_000;
/** One task, or many that are made all or none. */
export const CreateTasks = z.union([CreateTask, z.array(CreateTask).min(1).max(MAX_BULK)]);
export type CreateTasks = z.infer<typeof CreateTasks>;

/** Absent fields stay as they are. */
export const UpdateTask = z.strictObject({
  title: z.string().trim().min(1).max(500).optional(),
  done: z.boolean().optional(),
  dueOn: z.iso.date().nullable().optional(),
});
export type UpdateTask = z.infer<typeof UpdateTask>;
