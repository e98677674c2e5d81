import { z } from 'zod';
import { Connect, Connection, Disconnect, OpenedConnection } from '../../contract/connection.ts';
import { requireRegion } from '../access/caller.ts';
import { route, type SliceRoutes } from '../http/route.ts';
import { findTenant } from '../tenants/store.ts';
import { tenantNotFound } from '../tenants/tenant.ts';
import { connect, disconnect } from './connect.ts';
import { connectionNotFound } from './connection.ts';
import { findConnection } from './store.ts';

/** The routes of connections; who is connected stands with the tenant. */
export function connectionRoutes(): SliceRoutes {
  return { routes: [open, get, close] };
}

const SlugOrId = z.object({ slug: z.string().min(1).max(100) });

const open = route({
  method: 'post',
  path: '/api/v1/tenants/{slug}/connect',
  id: 'connectTenant',
  summary:
    "Open a read-only login to a tenant's database for some minutes; the answer alone holds its password",
  tag: 'tenants',
  permission: 'tenant:connect',
  params: SlugOrId,
  body: Connect,
  status: 201,
  response: OpenedConnection,
  sensitive: true,
  handle: async (call) => ({ body: await connect(call.tx, call.params.slug, call.body, call) }),
});

const get = route({
  method: 'get',
  path: '/api/v1/tenants/{slug}/connections/{id}',
  id: 'getConnection',
  summary: 'Whether a read-only login is there; never its password',
  tag: 'tenants',
  permission: 'tenant:connect',
  params: SlugOrId.extend({ id: z.uuid() }),
  status: 200,
  response: Connection,
  handle: async ({ tx, params, caller }) => {
    const tenant = await findTenant(tx, params.slug, true);
    if (tenant === undefined) throw tenantNotFound(params.slug);
    requireRegion(caller, tenant.region);
    const connection = await findConnection(tx, tenant.id, params.id);
    if (connection === undefined) throw connectionNotFound(params.id);
    return { body: connection };
  },
});

const close = route({
  method: 'post',
  path: '/api/v1/tenants/{slug}/disconnect',
  id: 'disconnectTenant',
  summary: "Close read-only logins to a tenant's database before their time, with their sessions",
  tag: 'tenants',
  permission: 'tenant:connect',
  params: SlugOrId,
  body: Disconnect.optional(),
  status: 204,
  handle: async (call) => {
    await disconnect(call.tx, call.params.slug, call.body ?? {}, call);
    return {};
  },
});
