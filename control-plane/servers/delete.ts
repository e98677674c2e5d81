import { z } from 'zod';
import type { Asker } from '../access/caller.ts';
import { requireVersion } from '../http/conflict.ts';
import type { OperationDefinition, StepContext } from '../operations/definition.ts';
import type { Transaction } from '../registry/registry.ts';
import { lockPlacement } from './database-store.ts';
import { requireRds, type RdsDeps } from './providers/rds.ts';
import { removeInstance } from './providers/rds/lifecycle.ts';
import { findInstance } from './providers/rds/store.ts';
import { serverInUse } from './registration.ts';
import { retireServer } from './retire.ts';
import { serverInWrongState, transitionServer, type ServerUsage } from './server.ts';
import { startOnServer } from './start-operation.ts';
import { findServer, moveServer } from './store.ts';

const Input = z.object({ serverId: z.uuid(), name: z.string(), region: z.string() });
type Input = z.infer<typeof Input>;
type Context = StepContext<Input>;

/**
 * Takes an empty server that the fleet has made on RDS out of it, and its instance out of RDS, with a final snapshot.
 * Forward only: it is tried again until nothing is left.
 */
export const deleteServer: OperationDefinition<Input, RdsDeps> = {
  kind: 'server.delete',
  input: Input,
  cancellable: false,
  steps: [
    { name: 'instance', do: (context, deps) => deleteInstance(deps, context.input) },
    { name: 'retire', do: retire },
  ],
};

/**
 * No databases are placed on it from now on.
 * @throws FleetError 412 `version_conflict`, 409 `server_in_use`, `wrong_state`, `operation_in_progress`
 */
export async function startDeleteServer(
  tx: Transaction,
  seen: ServerUsage,
  asker: Asker,
): Promise<{ operationId: string; server: ServerUsage }> {
  await lockPlacement(tx, seen.region);
  const server = (await findServer(tx, seen.id)) ?? seen;
  requireVersion({ noun: 'server', name: server.name, version: server.version }, asker.ifMatch);
  if (server.databases > 0) throw serverInUse(server.name, server.databases);
  const { id, name, region } = server;
  await drain(tx, server);
  const input: Input = { serverId: id, name, region };
  const wanted = { definition: deleteServer, input, before: { state: server.state } };
  const operationId = await startOnServer(tx, server, wanted, asker);
  return { operationId, server: (await findServer(tx, id)) ?? server };
}

/** By way of cordoned, where it is not there already. */
async function drain(tx: Transaction, server: ServerUsage): Promise<void> {
  let { state } = server;
  if (state === 'draining') return;
  for (const event of state === 'cordoned' ? (['drain'] as const) : (['cordon', 'drain'] as const)) {
    const next = transitionServer(state, event);
    if (next === undefined || !(await moveServer(tx, server.id, state, next)))
      throw serverInWrongState(server, event);
    state = next;
  }
}

/** @throws WaitingError until RDS has deleted it */
export async function deleteInstance(
  deps: RdsDeps,
  server: { serverId: string; region: string },
): Promise<void> {
  const record = await findInstance(deps.registry, server.serverId);
  if (record === undefined || record.adopted) return;
  const { instances } = requireRds(deps, server.region);
  const place = { region: server.region, identifier: record.identifier };
  await removeInstance(instances, server.serverId, place, finalSnapshotOf(record));
}

/** Of this very instance: a later one of the same name has another. */
export function finalSnapshotOf({ identifier, serverId }: { identifier: string; serverId: string }): string {
  return `${identifier}-final-${serverId.slice(0, 8)}`;
}

async function retire({ input, transaction }: Context, { secrets }: RdsDeps): Promise<void> {
  await transaction((tx) => retireServer(tx, secrets, input.serverId));
}
