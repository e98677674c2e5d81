import { z } from 'zod';
import type { Page } from '../../contract/page.ts';
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

/**
 * One page of `rows`, which were read with one more than `limit` to see whether there are more. `positionOf` is
 * what the cursor says of the last one, `viewOf` how the API shows each.
 */
export function pageOfRows<R, T>(
  rows: R[],
  limit: number,
  positionOf: (row: R) => object,
  viewOf: (row: R) => T,
): Page<T> {
  const shown = rows.slice(0, limit);
  const last = rows.length > limit ? shown.at(-1) : undefined;
  return {
    items: shown.map(viewOf),
    nextCursor: last === undefined ? null : encodeCursor(positionOf(last)),
  };
}

/** The same of a list that is sorted by creation and read as the API shows it. */
export function pageByCreation<T extends { createdAt: string; id: string }>(
  items: T[],
  limit: number,
): Page<T> {
  return pageOfRows(
    items,
    limit,
    ({ createdAt, id }) => ({ createdAt, id }),
    (item) => item,
  );
}
