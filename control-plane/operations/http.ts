import { z } from 'zod';
import { Operation, OperationFilter } from '../../contract/operation.ts';
import { PageQuery, pageOf } from '../../contract/page.ts';
import type { Queryable } from '../../platform/pg.ts';
import { requireRegion, visibleRegions, type Caller } from '../access/caller.ts';
import { sharedChannel } from '../http/channel.ts';
import { CreatedCursor, decodeCursor, pageByCreation } from '../http/cursor.ts';
import { follow } from '../http/follow.ts';
import { accepted, route, streamRoute, type Answer, type Call, type SliceRoutes } from '../http/route.ts';
import type { Registry } from '../registry/registry.ts';
import type { BoundOperation } from './definition.ts';
import { cancelOperation, operationNotFound, retryOperation } from './operation.ts';
import { getOperation, listOperations } from './store.ts';

export interface OperationRoutesDeps {
  registry: Registry;
  operations: ReadonlyMap<string, BoundOperation>;
}

const OperationId = z.object({ id: z.uuid() });
type OperationId = z.infer<typeof OperationId>;
const OperationQuery = z.object({ ...PageQuery.shape, ...OperationFilter.shape });
type OperationQuery = z.infer<typeof OperationQuery>;

/** What the routes have in common. */
const common = { tag: 'operations', params: OperationId } as const;

/** Operations: listed, shown, retried, cancelled and followed. */
export function operationRoutes(deps: OperationRoutesDeps): SliceRoutes {
  const channel = sharedChannel(deps.registry, 'fleet_operations');
  return {
    routes: [
      route({
        method: 'get',
        path: '/api/v1/operations',
        id: 'listOperations',
        summary: 'List operations, newest first',
        tag: 'operations',
        permission: 'fleet:read',
        query: OperationQuery,
        status: 200,
        response: pageOf(Operation),
        handle: list,
      }),
      route({
        ...common,
        method: 'get',
        path: '/api/v1/operations/{id}',
        id: 'getOperation',
        summary: 'Show an operation and its steps',
        permission: 'fleet:read',
        status: 200,
        response: Operation,
        handle: async ({ tx, params, caller }) => ({ body: await find(tx, params.id, caller) }),
      }),
      route({
        ...common,
        method: 'post',
        path: '/api/v1/operations/{id}/retry',
        id: 'retryOperation',
        summary: 'Queue a failed or cancelled operation again',
        permission: 'operation:write',
        status: 202,
        response: Operation,
        handle: (call) => change(call, deps, retryOperation),
      }),
      route({
        ...common,
        method: 'post',
        path: '/api/v1/operations/{id}/cancel',
        id: 'cancelOperation',
        summary: 'Stop an operation at its next step and undo what it did',
        permission: 'operation:write',
        status: 202,
        response: Operation,
        handle: (call) => change(call, deps, cancelOperation),
      }),
    ],
    streams: [
      streamRoute({
        ...common,
        path: '/api/v1/operations/{id}/events',
        id: 'watchOperation',
        summary: 'Follow an operation: `operation` at each change, `end` when it is over',
        permission: 'fleet:read',
        stream: (call) =>
          follow(call, {
            id: call.params.id,
            channel,
            event: 'operation',
            read: () => find(deps.registry, call.params.id, call.caller),
            isOver: (operation) => operation.finishedAt !== null,
          }),
      }),
    ],
  };
}

async function list(call: Call<unknown, OperationQuery, unknown>): Promise<Answer> {
  const { limit, cursor, ...filter } = call.query;
  const operations = await listOperations(call.tx, {
    ...filter,
    regions: visibleRegions(call.caller),
    limit: limit + 1,
    cursor: decodeCursor(cursor, CreatedCursor),
  });
  return { body: pageByCreation(operations, limit) };
}

/** @throws FleetError 404 `operation_not_found`, 403 `region_forbidden` */
async function find(db: Queryable, id: string, caller: Caller): Promise<Operation> {
  const operation = await getOperation(db, id);
  if (operation === undefined) throw operationNotFound(id);
  requireRegion(caller, operation.region);
  return operation;
}

async function change(
  call: Call<OperationId, unknown, unknown>,
  deps: OperationRoutesDeps,
  verb: typeof retryOperation,
): Promise<Answer> {
  const { tx, params, caller } = call;
  await find(tx, params.id, caller);
  await verb(tx, params.id, deps.operations, call);
  return accepted(params.id, await find(tx, params.id, caller));
}
