import { z } from 'zod';
import { PageQuery, pageOf } from '../../contract/page.ts';
import {
  CreateTenant,
  DeleteTenant,
  KeyReason,
  SuspendTenant,
  Tenant,
  TenantFilter,
  UpdateTenant,
} from '../../contract/tenant.ts';
import type { Queryable } from '../../platform/pg.ts';
import { requireRegion } from '../access/caller.ts';
import type { Secrets } from '../secrets/secret.ts';
import { accepted, route, type Answer, type SliceRoutes } from '../http/route.ts';
import { startCreateTenant } from './create.ts';
import { startDeleteTenant } from './delete.ts';
import type { TenantDeps } from './deps.ts';
import { destroyTenantKey, keepTenantKey } from './key.ts';
import { listTenants } from './list.ts';
import { startResumeTenant } from './resume.ts';
import { findTenant } from './store.ts';
import { startSuspendTenant } from './suspend.ts';
import { tenantNotFound } from './tenant.ts';
import { updateTenant } from './update.ts';

/** A tenant is addressed by its slug or its id; a deleted one by its id. */
const SlugOrId = z.object({ slug: z.string().min(1).max(100) });

/** The routes of tenants. */
export function tenantRoutes(deps: Pick<TenantDeps, 'secrets' | 'rds'>): SliceRoutes {
  const keys = [keepKey(deps.secrets), destroyKey(deps.secrets)];
  return { routes: [create(deps), list, get, update, suspend, resume, remove, ...keys] };
}

const create = (deps: Pick<TenantDeps, 'rds'>) =>
  route({
    method: 'post',
    path: '/api/v1/tenants',
    id: 'createTenant',
    summary: 'Create a tenant with a database of its own',
    tag: 'tenants',
    permission: 'tenant:create',
    body: CreateTenant,
    status: 202,
    response: Tenant,
    handle: async (call) => {
      const { operationId, tenantId } = await startCreateTenant(call.tx, call.body, call, deps);
      return acceptedFor(call.tx, operationId, tenantId);
    },
  });

const list = route({
  method: 'get',
  path: '/api/v1/tenants',
  id: 'listTenants',
  summary: 'List and search tenants',
  tag: 'tenants',
  permission: 'fleet:read',
  query: TenantFilter.extend(PageQuery.shape),
  status: 200,
  response: pageOf(Tenant),
  handle: async ({ tx, query, caller }) => ({ body: await listTenants(tx, query, caller) }),
});

const get = route({
  method: 'get',
  path: '/api/v1/tenants/{slug}',
  id: 'getTenant',
  summary: 'Get a tenant',
  tag: 'tenants',
  permission: 'fleet:read',
  params: SlugOrId,
  query: z.object({ includeDeleted: z.stringbool().optional() }),
  status: 200,
  response: Tenant,
  etag: true,
  handle: async ({ tx, params, query, caller }) => {
    const tenant = await findTenant(tx, params.slug, query.includeDeleted);
    if (tenant === undefined) throw tenantNotFound(params.slug);
    requireRegion(caller, tenant.region);
    return { body: tenant, version: tenant.version };
  },
});

const update = route({
  method: 'patch',
  path: '/api/v1/tenants/{slug}',
  id: 'updateTenant',
  summary: "Change a tenant's name, labels, contact, CRM reference or domains",
  tag: 'tenants',
  permission: 'tenant:write',
  params: SlugOrId,
  body: UpdateTenant,
  status: 200,
  response: Tenant,
  etag: true,
  handle: async (call) => {
    const tenant = await updateTenant(call.tx, call.params.slug, call.body, call);
    return { body: tenant, version: tenant.version };
  },
});

const suspend = route({
  method: 'post',
  path: '/api/v1/tenants/{slug}/suspend',
  id: 'suspendTenant',
  summary: 'Stop serving a tenant and lock its logins; its data stays',
  tag: 'tenants',
  permission: 'tenant:write',
  params: SlugOrId,
  body: SuspendTenant.optional(),
  status: 202,
  response: Tenant,
  etag: true,
  handle: async (call) =>
    acceptedFor(
      call.tx,
      await startSuspendTenant(call.tx, call.params.slug, { ...call, reason: call.body?.reason }),
      call.params.slug,
    ),
});

const resume = route({
  method: 'post',
  path: '/api/v1/tenants/{slug}/resume',
  id: 'resumeTenant',
  summary: 'Bring a suspended tenant to the current release and serve it again',
  tag: 'tenants',
  permission: 'tenant:write',
  params: SlugOrId,
  status: 202,
  response: Tenant,
  etag: true,
  handle: async (call) =>
    acceptedFor(call.tx, await startResumeTenant(call.tx, call.params.slug, call), call.params.slug),
});

const remove = route({
  method: 'delete',
  path: '/api/v1/tenants/{slug}',
  id: 'deleteTenant',
  summary: 'Delete a tenant and its data; `confirm` must repeat its slug',
  tag: 'tenants',
  permission: 'tenant:delete',
  params: SlugOrId,
  query: DeleteTenant.partial(),
  body: DeleteTenant.partial().optional(),
  status: 202,
  response: Tenant,
  etag: true,
  handle: async (call) => {
    const confirm = call.query.confirm ?? call.body?.confirm;
    const { operationId, tenantId } = await startDeleteTenant(call.tx, call.params.slug, confirm, call);
    return acceptedFor(call.tx, operationId, tenantId);
  },
});

function keepKey(secrets: Secrets) {
  return route({
    method: 'post',
    path: '/api/v1/tenants/{slug}/keep-key',
    id: 'keepTenantKey',
    summary: 'Keep the key of a deleted tenant, so that what was sealed under it can be read again',
    tag: 'tenants',
    permission: 'tenant:delete',
    params: SlugOrId,
    body: KeyReason.optional(),
    status: 200,
    response: Tenant,
    handle: async (call) => {
      const asker = { ...call, reason: call.body?.reason };
      return { body: await keepTenantKey(call.tx, secrets, call.params.slug, asker) };
    },
  });
}

function destroyKey(secrets: Secrets) {
  return route({
    method: 'post',
    path: '/api/v1/tenants/{slug}/destroy-key',
    id: 'destroyTenantKey',
    summary: 'Have a key that was kept destroyed after all, when its retention is over again',
    tag: 'tenants',
    permission: 'tenant:delete',
    params: SlugOrId,
    body: KeyReason.optional(),
    status: 200,
    response: Tenant,
    handle: async (call) => {
      const asker = { ...call, reason: call.body?.reason };
      return { body: await destroyTenantKey(call.tx, secrets, call.params.slug, asker) };
    },
  });
}

/** The tenant as it stands when the operation has been accepted. */
async function acceptedFor(tx: Queryable, operationId: string, slugOrId: string): Promise<Answer> {
  const tenant = await findTenant(tx, slugOrId);
  if (tenant === undefined) throw tenantNotFound(slugOrId);
  return { ...accepted(operationId, tenant), version: tenant.version };
}
