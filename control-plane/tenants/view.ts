import type { Tenant } from '../../contract/tenant.ts';
import { Labels, PlacementReport, TenantState, Tier } from '../../contract/tenant.ts';
import { KeyDestruction } from '../../contract/secret.ts';
import { StoredError } from '../../contract/problem.ts';

/** A tenant's row joined with its region, its live database and its domains. */
export interface TenantRow {
  id: string;
  slug: string;
  name: string;
  tier: string;
  region: string;
  state: string;
  state_cause: unknown;
  labels: unknown;
  contact: string | null;
  crm_ref: string | null;
  placement: unknown;
  version: number;
  created_at: Date;
  updated_at: Date;
  deleted_at: Date | null;
  region_domain: string;
  region_app_url: string | null;
  schema_version: string | null;
  server: string | null;
  database: string | null;
  domains: string[];
  connections: { login: string; openedBy: string; expiresAt: string }[];
  /** Null while its key is not to be destroyed. */
  key_state: string | null;
  key_requested_at: Date | null;
  key_retention_days: number | null;
  key_gone_at: Date | null;
  key_destroyed_at: Date | null;
}

/** The tenant as the API shows it. */
export function tenantView(row: TenantRow): Tenant {
  return {
    id: row.id,
    slug: row.slug,
    name: row.name,
    tier: Tier.parse(row.tier),
    region: row.region,
    state: TenantState.parse(row.state),
    stateCause: row.state_cause === null ? null : StoredError.parse(row.state_cause),
    schemaVersion: row.schema_version,
    server: row.server,
    database: row.database,
    urls: tenantUrls(row),
    domains: row.domains,
    labels: Labels.parse(row.labels),
    contact: row.contact,
    crmRef: row.crm_ref,
    placement: row.placement === null ? null : PlacementReport.parse(row.placement),
    version: row.version,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    deletedAt: row.deleted_at?.toISOString() ?? null,
    keyDestruction: keyDestruction(row),
    connections: row.connections.map((one) => ({ ...one, expiresAt: new Date(one.expiresAt).toISOString() })),
  };
}

function keyDestruction(row: TenantRow): KeyDestruction | null {
  if (row.key_state === null) return null;
  return KeyDestruction.parse({
    state: row.key_state,
    requestedAt: row.key_requested_at?.toISOString(),
    retentionDays: row.key_retention_days,
    goneAt: row.key_gone_at?.toISOString(),
    destroyedAt: row.key_destroyed_at?.toISOString() ?? null,
  });
}

/**
 * Where people reach the tenant: its name under the region's domain, then its own domains; scheme and port
 * are those of the region's app. A region whose app is not known yet is taken to serve HTTPS on its usual port.
 */
export function tenantUrls(
  row: Pick<TenantRow, 'slug' | 'state' | 'region_domain' | 'region_app_url' | 'domains'>,
): string[] {
  if (row.state === 'deleted') return [];
  const app = row.region_app_url === null ? undefined : new URL(row.region_app_url);
  const [scheme, port] = [app?.protocol ?? 'https:', app?.port ?? ''];
  const suffix = port === '' ? '' : `:${port}`;
  return [`${row.slug}.${row.region_domain}`, ...row.domains].map((host) => `${scheme}//${host}${suffix}`);
}
