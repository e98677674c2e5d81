import { z } from 'zod';
import { pageOf, PageQuery } from '../../contract/page.ts';
import {
  AddServer,
  CreateServer,
  InstanceDrifts,
  ModifyServer,
  Server,
  ServerFilter,
  ServerSnapshot,
} from '../../contract/server.ts';
import { requireRegion, visibleRegions, type Caller } from '../access/caller.ts';
import { decodeCursor, pageOfRows } from '../http/cursor.ts';
import { accepted, route, type SliceRoutes } from '../http/route.ts';
import type { Transaction } from '../registry/registry.ts';
import type { Secrets } from '../secrets/secret.ts';
import { startAddServer } from './add.ts';
import { changeServer, removeServer } from './change.ts';
import { startCreateServer } from './create.ts';
import { checkInstances } from './instance-drift.ts';
import { startDeleteServer } from './delete.ts';
import { startModify } from './modify.ts';
import type { Rds } from './providers/rds/rds.ts';
import { findInstance } from './providers/rds/store.ts';
import { regionRoutes } from './region-http.ts';
import { serverNotFound, serverView, type ServerUsage } from './server.ts';
import { startSnapshot } from './snapshot.ts';
import { findServer, listServers } from './store.ts';

export interface ServerRouteDeps {
  secrets: Secrets;
  rds?: Rds | undefined;
}

const Cursor = z.object({ name: z.string(), id: z.uuid() });
const Params = z.object({ name: z.string() });

/** One form for both ways to a server: `url` registers an existing one, `provider` makes one. */
const NewServer = z
  .strictObject({
    ...AddServer.shape,
    url: AddServer.shape.url.optional(),
    provider: CreateServer.shape.provider.optional(),
    rds: CreateServer.shape.rds,
  })
  .refine((body) => (body.url === undefined) !== (body.provider === undefined), {
    message: 'give either url (register an existing server) or provider (make one)',
    path: ['url'],
  })
  .refine((body) => body.instance === undefined || body.url !== undefined, {
    message: 'is for an instance that exists: give its url too',
    path: ['instance'],
  })
  .refine((body) => body.rds === undefined || body.provider === 'rds', {
    message: 'is for provider rds',
    path: ['rds'],
  })
  .refine((body) => body.mode !== 'dedicated' || (body.maxDatabases ?? 1) === 1, {
    message: 'a dedicated server holds one database',
    path: ['maxDatabases'],
  });

/** Servers, and the regions that they stand in. */
export function serverRoutes(deps: ServerRouteDeps): SliceRoutes {
  return {
    routes: [
      ...regionRoutes(),
      listRoute,
      getRoute,
      postRoute(deps),
      changeRoute('cordon'),
      changeRoute('uncordon'),
      deleteRoute(deps),
      snapshotRoute,
      modifyRoute,
      checkRoute(deps),
    ],
  };
}

const listRoute = route({
  method: 'get',
  path: '/api/v1/servers',
  id: 'listServers',
  summary: 'Servers by name; retired ones only with state=retired',
  tag: 'servers',
  permission: 'fleet:read',
  query: PageQuery.extend(ServerFilter.shape),
  status: 200,
  response: pageOf(Server),
  handle: async ({ query, caller, tx }) => {
    if (query.region !== undefined) requireRegion(caller, query.region);
    const rows = await listServers(tx, {
      region: query.region,
      state: query.state,
      regions: visibleRegions(caller),
      after: decodeCursor(query.cursor, Cursor),
      limit: query.limit + 1,
    });
    return { body: pageOfRows(rows, query.limit, ({ name, id }) => ({ name, id }), serverView) };
  },
});

const getRoute = route({
  method: 'get',
  path: '/api/v1/servers/{name}',
  id: 'getServer',
  summary: 'One server, by name or id',
  tag: 'servers',
  permission: 'fleet:read',
  params: Params,
  status: 200,
  response: Server,
  handle: async ({ params, caller, tx }) => answer(await visibleServer(tx, params.name, caller)),
});

function postRoute(deps: ServerRouteDeps) {
  return route({
    method: 'post',
    path: '/api/v1/servers',
    id: 'addServer',
    summary: 'Register an existing PostgreSQL server, or make one',
    tag: 'servers',
    permission: 'server:write',
    body: NewServer,
    status: 202,
    response: Server,
    handle: async ({ body, caller, requestId, tx }) => {
      requireRegion(caller, body.region);
      const request = { caller, requestId };
      const { url, provider = 'embedded', rds, instance, ...rest } = body;
      const { operationId, serverId } =
        url === undefined
          ? await startCreateServer(tx, { ...rest, provider, rds }, request, deps)
          : await startAddServer(tx, deps.secrets, { ...rest, url, instance }, request);
      const server = await findServer(tx, serverId);
      if (server === undefined) throw serverNotFound(body.name);
      return accepted(operationId, serverView(server));
    },
  });
}

function changeRoute(event: 'cordon' | 'uncordon') {
  return route({
    method: 'post',
    path: `/api/v1/servers/{name}/${event}`,
    id: `${event}Server`,
    summary:
      event === 'cordon' ? 'Place no further databases on the server' : 'Let placement use the server again',
    tag: 'servers',
    permission: 'server:write',
    params: Params,
    status: 200,
    response: Server,
    etag: true,
    handle: async (call) => {
      const server = await visibleServer(call.tx, call.params.name, call.caller);
      return answer(await changeServer(call.tx, server, event, call));
    },
  });
}

function deleteRoute({ secrets }: ServerRouteDeps) {
  return route({
    method: 'delete',
    path: '/api/v1/servers/{name}',
    id: 'removeServer',
    summary:
      'Take an empty server out of the fleet. Its data is not touched; an instance that the fleet has made on RDS is deleted with a final snapshot, which takes a while (202)',
    tag: 'servers',
    permission: 'server:write',
    params: Params,
    status: 202,
    response: Server,
    etag: true,
    handle: async (call) => {
      const seen = await visibleServer(call.tx, call.params.name, call.caller);
      const instance = await findInstance(call.tx, seen.id);
      if (instance === undefined || instance.adopted) {
        return { ...answer(await removeServer(call.tx, secrets, seen, call)), status: 200 };
      }
      const { operationId, server } = await startDeleteServer(call.tx, seen, call);
      return accepted(operationId, serverView(server));
    },
  });
}

const snapshotRoute = route({
  method: 'post',
  path: '/api/v1/servers/{name}/snapshot',
  id: 'snapshotServer',
  summary: 'Take a snapshot of a whole server on RDS',
  tag: 'servers',
  permission: 'server:write',
  params: Params,
  status: 202,
  response: ServerSnapshot,
  handle: async (call) => {
    const server = await visibleServer(call.tx, call.params.name, call.caller);
    const { operationId, snapshot } = await startSnapshot(call.tx, server, call);
    return accepted(operationId, { server: server.name, snapshot });
  },
});

const modifyRoute = route({
  method: 'post',
  path: '/api/v1/servers/{name}/modify',
  id: 'modifyServer',
  summary: 'Change the instance on RDS that a server is, at once; mostly it is away for a minute',
  tag: 'servers',
  permission: 'server:write',
  params: Params,
  body: ModifyServer,
  status: 202,
  response: Server,
  handle: async (call) => {
    const server = await visibleServer(call.tx, call.params.name, call.caller);
    return accepted(await startModify(call.tx, server, call.body, call), serverView(server));
  },
});

function checkRoute({ rds }: ServerRouteDeps) {
  return route({
    method: 'post',
    path: '/api/v1/drift/servers',
    id: 'checkServers',
    summary: 'Compare all servers on RDS with what RDS has, and find instances that belong to no server',
    tag: 'drift',
    permission: 'server:write',
    status: 200,
    response: InstanceDrifts,
    handle: async ({ caller, tx }) => {
      const regions = visibleRegions(caller);
      const items = await checkInstances(tx, rds);
      return { body: { items: items.filter(({ region }) => regions?.includes(region) ?? true) } };
    },
  });
}

async function visibleServer(tx: Transaction, name: string, caller: Caller): Promise<ServerUsage> {
  const server = await findServer(tx, name);
  if (server === undefined) throw serverNotFound(name);
  requireRegion(caller, server.region);
  return server;
}

function answer(server: ServerUsage) {
  return { body: serverView(server), version: server.version };
}
