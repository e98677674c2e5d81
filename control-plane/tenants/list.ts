import { z } from 'zod';
import type { Page, PageQuery } from '../../contract/page.ts';
import type { Tenant, TenantFilter } from '../../contract/tenant.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import { visibleRegions, type Caller } from '../access/caller.ts';
import { decodeCursor, pageOfRows } from '../http/cursor.ts';
import { listTenantRows } from './list-store.ts';
import { tenantView } from './view.ts';

const SlugValue = z.string().max(40);
const InstantValue = z.string().regex(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00$/);
const POSITIONS = {
  slug: SlugValue,
  '-slug': SlugValue,
  createdAt: InstantValue,
  '-createdAt': InstantValue,
};

/**
 * One page of the tenants that the caller may see. A cursor goes on only in the sort that it was made in.
 * @throws FleetError 422 `invalid_cursor` or `invalid_label`
 */
export async function listTenants(
  db: Queryable,
  { limit, cursor, label, ...filter }: TenantFilter & PageQuery,
  caller: Caller,
): Promise<Page<Tenant>> {
  const { sort } = filter;
  const Position = z.object({ sort: z.literal(sort), value: POSITIONS[sort], id: z.uuid() });
  const rows = await listTenantRows(db, {
    ...filter,
    labels: label === undefined ? undefined : wantedLabels(label),
    regions: visibleRegions(caller),
    after: decodeCursor(cursor, Position),
    limit: limit + 1,
  });
  return pageOfRows(rows, limit, ({ position, id }) => ({ sort, value: position, id }), tenantView);
}

/** `key=value`, or several, as what a tenant's labels must contain. */
function wantedLabels(labels: string | string[]): Record<string, string> {
  const pairs = [labels].flat().map((label): [string, string] => {
    const cut = label.indexOf('=');
    if (cut < 1) {
      throw new FleetError({
        code: 'invalid_label',
        status: 422,
        message: `the label filter "${label}" is not of the form key=value`,
        fix: 'for example --label canary=true',
      });
    }
    return [label.slice(0, cut), label.slice(cut + 1)];
  });
  return Object.fromEntries(pairs);
}
