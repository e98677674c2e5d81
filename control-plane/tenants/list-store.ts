import type { TenantFilter } from '../../contract/tenant.ts';
import type { Queryable } from '../../platform/pg.ts';
import { TENANT_JOINS, TENANT_SELECT } from './store.ts';
import type { TenantRow } from './view.ts';

export interface TenantPage extends Omit<TenantFilter, 'label'> {
  /** What the tenant's labels must contain. */
  labels?: Record<string, string> | undefined;
  /** null = all. */
  regions: string[] | null;
  /** The sorted column of the last row of the page before, and that row's id: ties are broken by it. */
  after?: { value: string; id: string } | undefined;
  limit: number;
}

/** A tenant with what its page is sorted by, as PostgreSQL's own text: microseconds, which a Date would cut. */
export type ListedTenant = TenantRow & { position: string };

const SORTS = {
  slug: { column: 't.slug', order: 'ASC', after: '>', type: 'text' },
  '-slug': { column: 't.slug', order: 'DESC', after: '<', type: 'text' },
  createdAt: { column: 't.created_at', order: 'ASC', after: '>', type: 'timestamptz' },
  '-createdAt': { column: 't.created_at', order: 'DESC', after: '<', type: 'timestamptz' },
} as const;

/** One page of tenants, by keyset in the order of `page.sort`. */
export async function listTenantRows(db: Queryable, page: TenantPage): Promise<ListedTenant[]> {
  const { column, order } = SORTS[page.sort];
  const values: unknown[] = [];
  const conditions = conditionsOf(page, (value) => `$${values.push(value)}`);
  const { rows } = await db.query<ListedTenant>(
    `${TENANT_SELECT}, ${column}::text AS position ${TENANT_JOINS}
      WHERE ${conditions.join(' AND ')}
      ORDER BY ${column} ${order}, t.id ${order}
      LIMIT $${values.push(page.limit)}`,
    values,
  );
  return rows;
}

function conditionsOf(page: TenantPage, bind: (value: unknown) => string): string[] {
  // A literal, not a parameter: only so can the index of live slugs be used.
  const withDeleted = page.includeDeleted === true || page.state === 'deleted';
  const conditions = [withDeleted ? 'true' : "t.state <> 'deleted'"];
  const equal = (column: string, value: unknown) => {
    if (value !== undefined) conditions.push(`${column} = ${bind(value)}`);
  };
  equal('t.region', page.region);
  equal('t.tier', page.tier);
  equal('t.state', page.state);
  equal('s.name', page.server);
  equal('d.schema_version', page.schemaVersion);
  if (page.regions !== null) conditions.push(`t.region = ANY (${bind(page.regions)})`);
  if (page.labels !== undefined) conditions.push(`t.labels @> ${bind(JSON.stringify(page.labels))}`);
  if (page.search !== undefined) conditions.push(searchCondition(bind(containing(page.search))));
  if (page.after !== undefined) {
    const { column, after, type } = SORTS[page.sort];
    conditions.push(
      `(${column}, t.id) ${after} (${bind(page.after.value)}::${type}, ${bind(page.after.id)})`,
    );
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
