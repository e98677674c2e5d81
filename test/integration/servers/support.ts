import { randomUUID } from 'node:crypto';
import type { BoundOperation } from '../../../control-plane/operations/definition.ts';
import type { Registry } from '../../../control-plane/registry/registry.ts';
import type { Operation } from '../../../contract/operation.ts';
import { SYSTEM_CALLER, type Caller } from '../../../control-plane/access/caller.ts';
import type { Answer, SliceRoutes } from '../../../control-plane/http/route.ts';
import { createOperationDriver } from '../../../control-plane/operations/engine.ts';
import { getOperation } from '../../../control-plane/operations/store.ts';
import { driveOnce } from '../../support/drive.ts';
import { quietLogger } from '../../support/registry.ts';

export const request = { caller: SYSTEM_CALLER, requestId: 'test' };

export async function addRegions(registry: Registry): Promise<void> {
  await registry.query(
    `INSERT INTO regions (name, jurisdiction, domain)
     VALUES ('eu', 'EU', 'eu.localhost'), ('us', 'US', 'us.localhost')`,
  );
  await registry.query(
    "INSERT INTO principals (id, name, kind) VALUES ($1, 'system', 'system') ON CONFLICT DO NOTHING",
    [SYSTEM_CALLER.principalId],
  );
}

/** A server row that nothing stands behind, for tests of bookkeeping alone. */
export async function insertReadyServer(
  registry: Registry,
  name: string,
  more: object = {},
): Promise<string> {
  const row = {
    ...{ id: randomUUID(), name, region: 'eu', provider: 'postgres', mode: 'shared', state: 'ready' },
    ...{ host: '127.0.0.1', port: 1, tls: 'disable', admin_user: 'a', admin_database: 'postgres' },
    ...{ max_databases: 100, max_connections: 1000 },
    ...more,
  };
  const columns = Object.keys(row);
  await registry.query(
    `INSERT INTO servers (${columns.join(', ')}) VALUES (${columns.map((_, i) => `$${i + 1}`).join(', ')})`,
    Object.values(row),
  );
  return row.id;
}

export async function insertTenant(registry: Registry, slug: string, region = 'eu'): Promise<string> {
  const id = randomUUID();
  await registry.query(
    "INSERT INTO tenants (id, slug, name, tier, region, state) VALUES ($1, $2, $2, 'standard', $3, 'provisioning')",
    [id, slug, region],
  );
  return id;
}

/** Carries the operation to its end in this process. */
export async function drive(
  registry: Registry,
  operations: BoundOperation[],
  id: string,
): Promise<Operation> {
  const driver = createOperationDriver({
    registry,
    operations: new Map(operations.map((operation) => [operation.kind, operation])),
    logger: quietLogger,
  });
  await driveOnce(registry, driver, id);
  const operation = await getOperation(registry, id);
  if (operation === undefined) throw new Error(`operation ${id} is gone`);
  return operation;
}

/** Calls a route as http/ would: checks the request by its schemas, in a transaction. */
export function callRoute(
  registry: Registry,
  slice: SliceRoutes,
  id: string,
  call: { params?: object; query?: object; body?: unknown; ifMatch?: number; caller?: Caller },
): Promise<Answer> {
  const route = slice.routes.find((candidate) => candidate.id === id);
  if (route === undefined) throw new Error(`no route ${id}`);
  return registry.transaction(async (tx) => {
    const answer = await route.handle({
      params: route.params?.parse(call.params ?? {}),
      query: route.query?.parse(call.query ?? {}),
      body: route.body?.parse(call.body ?? {}),
      caller: call.caller ?? SYSTEM_CALLER,
      requestId: 'test',
      ifMatch: call.ifMatch,
      tx,
    });
    route.response?.parse(answer.body);
    return answer;
  });
}
