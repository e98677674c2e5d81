import { z } from 'zod';
import { FleetError } from '../../platform/errors.ts';

/** Where a page ended: the keyset (created_at, id), with the instant as PostgreSQL writes it, to the microsecond. */
export interface Position {
  at: string;
  id: string;
}

const Stored = z.tuple([z.string().regex(/^\d{4}-\d\d-\d\d [\d:.]+\+00$/), z.uuid()]);

/** The position as opaque text. */
export function writeCursor(position: Position): string {
  return Buffer.from(JSON.stringify([position.at, position.id])).toString('base64url');
}

/** @throws FleetError 400 `invalid_cursor` */
export function readCursor(cursor: string | undefined): Position | undefined {
  if (cursor === undefined) return undefined;
  const parsed = Stored.safeParse(fromJson(Buffer.from(cursor, 'base64url').toString('utf8')));
  if (parsed.success) return { at: parsed.data[0], id: parsed.data[1] };
  throw new FleetError({
    code: 'invalid_cursor',
    status: 400,
    message: 'the cursor is not one of this list',
    fix: 'take nextCursor from the page before, or leave it out',
  });
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Makes a page of rows that were read with one more than `limit`. */
export function pageOfRows<R extends { cursor_at: string; id: string }, T>(
  rows: R[],
  limit: number,
  fromRow: (row: R) => T,
): { items: T[]; nextCursor: string | null } {
  const shown = rows.slice(0, limit);
  const last = rows.length > limit ? shown.at(-1) : undefined;
  return {
    items: shown.map(fromRow),
    nextCursor: last === undefined ? null : writeCursor({ at: last.cursor_at, id: last.id }),
  };
}
