import { z } from 'zod';
import { FleetError } from '../../platform/errors.ts';

/** Where a page ended, as opaque text. Holds only what the page itself showed. */
export function encodeCursor(position: object): string {
  return Buffer.from(JSON.stringify(position)).toString('base64url');
}

/** The inverse. @throws FleetError 422 `invalid_cursor` for anything that `position` does not accept. */
export function decodeCursor<T>(cursor: string | undefined, position: z.ZodType<T>): T | undefined {
  if (cursor === undefined) return undefined;
  const decoded = position.safeParse(parse(cursor));
  if (decoded.success) return decoded.data;
  throw new FleetError({
    code: 'invalid_cursor',
    status: 422,
    message: 'the cursor is not one of ours',
    errors: [{ path: 'query.cursor', message: 'pass the nextCursor of the page before, unchanged' }],
    fix: 'leave the cursor out to begin with the first page',
  });
}

function parse(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}

/** Position in a list that is sorted by creation. */
export const CreatedCursor = z.object({ createdAt: z.iso.datetime(), id: z.uuid() });

/** One page of `items`, which were read with one more than `limit` to see whether there are more. */
export function pageByCreation<T extends { createdAt: string; id: string }>(items: T[], limit: number) {
  const shown = items.slice(0, limit);
  const last = shown.at(-1);
  return {
    items: shown,
    nextCursor:
      items.length > limit && last !== undefined
        ? encodeCursor({ createdAt: last.createdAt, id: last.id })
        : null,
  };
}
