import { z } from 'zod';
import type { Page } from '../../contract/page.ts';
import type { Tenant, TenantFilter } from '../../contract/tenant.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import { decodeCursor, encodeCursor } from '../http/cursor.ts';
import { TENANT_JOINS, TENANT_SELECT } from './store.ts';
import { tenantView, type TenantRow } from './view.ts';

export interface TenantListQuery {
  filter: TenantFilter;
  limit: number;
  cursor: string | undefined;
  /** null = all. */
  regions: string[] | null;
}

const SlugValue = z.string().max(40);
/** PostgreSQL's own text in UTC: it keeps the microseconds that a Date would cut. */
const InstantValue = z.string().regex(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00$/);

const SORTS = {
  slug: { column: 't.slug', order: 'ASC', after: '>', type: 'text', value: SlugValue },
  '-slug': { column: 't.slug', order: 'DESC', after: '<', type: 'text', value: SlugValue },
  createdAt: { column: 't.created_at', order: 'ASC', after: '>', type: 'timestamptz', value: InstantValue },
  '-createdAt': {
    column: 't.created_at',
    order: 'DESC',
    after: '<',
    type: 'timestamptz',
    value: InstantValue,
  },
} as const;

/** One page of tenants by keyset. @throws FleetError 422 `invalid_cursor` or `invalid_label` */
export async function listTenants(db: Queryable, query: TenantListQuery): Promise<Page<Tenant>> {
  const { column, order } = SORTS[query.filter.sort];
  const values: unknown[] = [];
  const conditions = conditionsOf(query, (value) => `$${values.push(value)}`);
  const { rows } = await db.query<TenantRow & { position: string }>(
    `${TENANT_SELECT}, ${column}::text AS position ${TENANT_JOINS}
      WHERE ${conditions.join(' AND ')}
      ORDER BY ${column} ${order}, t.id ${order}
      LIMIT $${values.push(query.limit + 1)}`,
    values,
  );
  const shown = rows.slice(0, query.limit);
  const last = rows.length > shown.length ? shown.at(-1) : undefined;
  return {
    items: shown.map(tenantView),
    nextCursor:
      last === undefined
        ? null
        : encodeCursor({ sort: query.filter.sort, value: last.position, id: last.id }),
  };
}

function conditionsOf(query: TenantListQuery, bind: (value: unknown) => string): string[] {
  const { filter } = query;
  // A literal, not a parameter: only so can the index of live slugs be used.
  const withDeleted = filter.includeDeleted === true || filter.state === 'deleted';
  const conditions = [withDeleted ? 'true' : "t.state <> 'deleted'"];
  const equal = (column: string, value: unknown) => {
    if (value !== undefined) conditions.push(`${column} = ${bind(value)}`);
  };
  equal('t.region', filter.region);
  equal('t.tier', filter.tier);
  equal('t.state', filter.state);
  equal('s.name', filter.server);
  equal('d.schema_version', filter.schemaVersion);
  if (query.regions !== null) conditions.push(`t.region = ANY (${bind(query.regions)})`);
  if (filter.label !== undefined) conditions.push(`t.labels @> ${bind(wantedLabels(filter.label))}`);
  if (filter.search !== undefined) conditions.push(searchCondition(bind(containing(filter.search))));
  const { column, after, type, value } = SORTS[filter.sort];
  // A cursor goes on in the sort that it was made in, and ties are broken by the id.
  const position = decodeCursor(
    query.cursor,
    z.object({ sort: z.literal(filter.sort), value, id: z.uuid() }),
  );
  if (position !== undefined) {
    conditions.push(`(${column}, t.id) ${after} (${bind(position.value)}::${type}, ${bind(position.id)})`);
  }
  return conditions;
}

function searchCondition(pattern: string): string {
  const columns = ['t.slug', 't.name', 't.contact', 't.crm_ref'];
  return `(${columns.map((column) => `${column} ILIKE ${pattern}`).join(' OR ')})`;
}

function containing(text: string): string {
  return `%${text.replace(/[\\%_]/g, (sign) => `\\${sign}`)}%`;
}

/** `key=value`, or several, as the JSON object that a tenant's labels must contain. */
function wantedLabels(labels: string | string[]): string {
  const pairs = [labels].flat().map((label) => {
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
  return JSON.stringify(Object.fromEntries(pairs));
}
