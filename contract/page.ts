import { z } from 'zod';

/** Keyset pagination: `cursor` is the `nextCursor` of the page before; opaque. */
export const PageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(500).default(100),
  cursor: z.string().max(500).optional(),
});
export type PageQuery = z.infer<typeof PageQuery>;

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

/** The answer of a list of `item`. `nextCursor` is null on the last page. */
export function pageOf<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item), nextCursor: z.string().nullable() });
}

/** An instant in ISO 8601, UTC. */
export const Instant = z.iso.datetime();
