import type { PlacementReport, Tenant, TenantState, Tier } from '../../contract/tenant.ts';
import type { ErrorSummary } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import { isUuid } from '../../platform/uuid.ts';
import { ADVISORY_LOCKS } from '../registry/locks.ts';
import { requireTransition, tenantInWrongState, tenantNotFound, type TenantEvent } from './tenant.ts';
import { tenantView, type TenantRow } from './view.ts';

/** All SQL of the tables `tenants` and `domains`, save the list that people see (list-store.ts). */

/** Columns and joins of a TenantRow; a dropped database is history and not shown. */
export const TENANT_SELECT = `
  SELECT t.id, t.slug, t.name, t.tier, t.region, t.state, t.state_cause, t.labels, t.contact, t.crm_ref,
         t.placement, t.version, t.created_at, t.updated_at, t.deleted_at,
         r.domain AS region_domain, r.app_url AS region_app_url,
         d.schema_version, d.name AS database, s.name AS server,
         ARRAY(SELECT host FROM domains WHERE tenant_id = t.id ORDER BY host) AS domains,
         k.state AS key_state, k.requested_at AS key_requested_at, k.retention_days AS key_retention_days,
         coalesce(k.key_gone_at, k.requested_at + make_interval(days => k.retention_days)) AS key_gone_at,
         k.destroyed_at AS key_destroyed_at,
         ARRAY(SELECT json_build_object('login', c.login, 'openedBy', c.opened_by, 'expiresAt', c.expires_at)
                 FROM connections c WHERE c.tenant_id = t.id AND c.state <> 'closed' ORDER BY c.created_at) AS connections`;
export const TENANT_JOINS = `
  FROM tenants t
  JOIN regions r ON r.name = t.region
  LEFT JOIN databases d ON d.tenant_id = t.id AND d.state <> 'dropped'
  LEFT JOIN servers s ON s.id = d.server_id
  LEFT JOIN owner_destructions k ON k.owner = 'tenant:' || t.id`;

/**
 * A tenant by id, or by the slug of a live one. With `includeDeleted` a slug also finds the tenant that bore
 * it last. Where a slug has the form of a uuid, the id goes first.
 */
export async function findTenant(
  db: Queryable,
  slugOrId: string,
  includeDeleted = false,
): Promise<Tenant | undefined> {
  if (isUuid(slugOrId)) {
    const { rows } = await db.query<TenantRow>(`${TENANT_SELECT} ${TENANT_JOINS} WHERE t.id = $1`, [
      slugOrId,
    ]);
    if (rows[0] !== undefined) return tenantView(rows[0]);
  }
  const { rows } = await db.query<TenantRow>(
    `${TENANT_SELECT} ${TENANT_JOINS}
      WHERE t.slug = $1 AND (t.state <> 'deleted' OR $2)
      ORDER BY t.deleted_at DESC NULLS FIRST LIMIT 1`,
    [slugOrId, includeDeleted],
  );
  return rows[0] === undefined ? undefined : tenantView(rows[0]);
}

/** Like findTenant, holding the row against every other change until the transaction ends. */
export async function lockTenant(tx: Queryable, slugOrId: string): Promise<Tenant | undefined> {
  const found = await findTenant(tx, slugOrId);
  if (found === undefined) return undefined;
  await tx.query('SELECT 1 FROM tenants WHERE id = $1 FOR UPDATE', [found.id]);
  // Read again: it may have changed while the lock was waited for.
  return findTenant(tx, found.id);
}

export interface NewTenant {
  id: string;
  slug: string;
  name: string;
  tier: Tier;
  region: string;
  labels: Record<string, string>;
  contact: string | null;
  crmRef: string | null;
}

/** Inserts the tenant as `provisioning`; false when a live tenant has its slug. */
export async function insertTenant(tx: Queryable, tenant: NewTenant): Promise<boolean> {
  const { rowCount } = await tx.query(
    `INSERT INTO tenants (id, slug, name, tier, region, state, labels, contact, crm_ref)
     VALUES ($1, $2, $3, $4, $5, 'provisioning', $6, $7, $8)
     ON CONFLICT (slug) WHERE state <> 'deleted' DO NOTHING`,
    [
      tenant.id,
      tenant.slug,
      tenant.name,
      tenant.tier,
      tenant.region,
      JSON.stringify(tenant.labels),
      tenant.contact,
      tenant.crmRef,
    ],
  );
  return rowCount === 1;
}

/** Remembers what placement chose; not a change that a reader's ETag should notice. */
export async function savePlacement(tx: Queryable, tenantId: string, report: PlacementReport): Promise<void> {
  await tx.query('UPDATE tenants SET placement = $2 WHERE id = $1', [tenantId, JSON.stringify(report)]);
}

/**
 * Moves the tenant from `from` to where `event` leads. A repeated step finds it there already, and then nothing
 * is changed. `cause` says why, where the new state needs words.
 * @throws FleetError 409 `wrong_state` when it stands anywhere else, 404 `tenant_not_found`
 */
export async function moveTenant(
  tx: Queryable,
  tenantId: string,
  from: TenantState,
  event: TenantEvent,
  cause: ErrorSummary | null = null,
): Promise<void> {
  const next = requireTransition({ slug: tenantId, state: from }, event);
  const { rowCount } = await tx.query(
    `UPDATE tenants
        SET state = $3, state_cause = $4, version = version + 1, updated_at = now(),
            deleted_at = CASE WHEN $3 = 'deleted' THEN now() END
      WHERE id = $1 AND state = $2`,
    [tenantId, from, next, cause === null ? null : JSON.stringify(cause)],
  );
  if (rowCount === 1) return;
  const tenant = await findTenant(tx, tenantId);
  if (tenant === undefined) throw tenantNotFound(tenantId);
  if (tenant.state !== next) throw tenantInWrongState(tenant, event);
}

/** The tenant's state, its row locked until the transaction ends; undefined when there is no such tenant. */
export async function lockState(tx: Queryable, tenantId: string): Promise<TenantState | undefined> {
  const { rows } = await tx.query<{ state: TenantState }>(
    'SELECT state FROM tenants WHERE id = $1 FOR UPDATE',
    [tenantId],
  );
  return rows[0]?.state;
}

/** Writes the fields that a person may change. */
export async function saveTenant(
  tx: Queryable,
  tenant: Pick<Tenant, 'id' | 'name' | 'labels' | 'contact' | 'crmRef'>,
): Promise<void> {
  await tx.query(
    `UPDATE tenants
        SET name = $2, labels = $3, contact = $4, crm_ref = $5, version = version + 1, updated_at = now()
      WHERE id = $1`,
    [tenant.id, tenant.name, JSON.stringify(tenant.labels), tenant.contact, tenant.crmRef],
  );
}

/** Gives the hosts to the tenant and answers those that it has now; what is missing belongs to another. */
export async function addDomains(tx: Queryable, tenantId: string, hosts: string[]): Promise<string[]> {
  if (hosts.length === 0) return [];
  await tx.query(
    `INSERT INTO domains (host, tenant_id) SELECT host, $2 FROM unnest($1::text[]) AS host ORDER BY host
     ON CONFLICT (host) DO NOTHING`,
    [hosts, tenantId],
  );
  const { rows } = await tx.query<{ host: string }>(
    'SELECT host FROM domains WHERE tenant_id = $2 AND host = ANY ($1)',
    [hosts, tenantId],
  );
  return rows.map((row) => row.host);
}

/** Takes all hosts from the tenant save those in `keep`. */
export async function removeDomains(tx: Queryable, tenantId: string, keep: string[] = []): Promise<void> {
  await tx.query('DELETE FROM domains WHERE tenant_id = $1 AND host <> ALL ($2::text[])', [tenantId, keep]);
}

/** The region whose own domain `host` is, or lies under: such hosts are never a tenant's. */
export async function regionOfHost(db: Queryable, hosts: string[]): Promise<HostOfRegion | undefined> {
  const { rows } = await db.query<HostOfRegion>(
    `SELECT host, r.name AS region FROM unnest($1::text[]) AS host
       JOIN regions r ON host = r.domain OR right(host, length(r.domain) + 1) = '.' || r.domain
      ORDER BY host LIMIT 1`,
    [hosts],
  );
  return rows[0];
}

export interface HostOfRegion {
  host: string;
  region: string;
}

/** A live tenant with a ready database: what a rollout may have to bring forward. */
export interface FleetMember {
  tenantId: string;
  slug: string;
  region: string;
  tier: Tier;
  labels: Record<string, string>;
  tenantState: TenantState;
  databaseId: string;
  serverId: string;
  serverName: string;
  databaseName: string;
  ownerRole: string;
  schemaVersion: string | null;
}

export interface FleetMemberFilter {
  region?: string;
  /** Only databases whose last migration comes before this ordinal; one without any is before all. */
  behindOrdinal?: number;
}

/** By slug: the stable order that plans are made in. */
export async function fleetMembers(db: Queryable, filter: FleetMemberFilter = {}): Promise<FleetMember[]> {
  const { rows } = await db.query<FleetMember>(
    `SELECT t.id AS "tenantId", t.slug, t.region, t.tier, t.labels, t.state AS "tenantState",
            d.id AS "databaseId", d.server_id AS "serverId", s.name AS "serverName", d.name AS "databaseName",
            d.owner_role AS "ownerRole", d.schema_version AS "schemaVersion"
       FROM tenants t
       JOIN databases d ON d.tenant_id = t.id AND d.state = 'ready'
       JOIN servers s ON s.id = d.server_id
       LEFT JOIN migrations m ON m.name = d.schema_version
      WHERE t.state IN ('active', 'suspended', 'moving', 'offboarding')
        AND ($1::text IS NULL OR t.region = $1)
        AND ($2::int IS NULL OR coalesce(m.ordinal, 0) < $2)
      ORDER BY t.slug`,
    [filter.region ?? null, filter.behindOrdinal ?? null],
  );
  return rows;
}

/**
 * Held until the transaction ends. `shared` by everything that makes a tenant active: it then sees the release
 * that the fleet is at. `exclusive` by a rollout before its last look for tenants that are behind: none can
 * join the fleet at the old release between that look and the commit.
 */
export async function lockMembership(tx: Queryable, mode: 'shared' | 'exclusive'): Promise<void> {
  const shared = mode === 'shared' ? '_shared' : '';
  await tx.query(`SELECT pg_advisory_xact_lock${shared}($1)`, [ADVISORY_LOCKS.membership]);
}
