import { z } from 'zod';
import { ModifyServer } from '../../contract/server.ts';
import type { Asker } from '../access/caller.ts';
import type { OperationDefinition, StepContext } from '../operations/definition.ts';
import type { Transaction } from '../registry/registry.ts';
import { requireRds, type RdsDeps } from './providers/rds.ts';
import { ensureChanged } from './providers/rds/lifecycle.ts';
import { findInstance, setSpec } from './providers/rds/store.ts';
import type { ServerRecord } from './server.ts';
import { requireOnRds } from './snapshot.ts';
import { startOnServer } from './start-operation.ts';

const Input = z.object({
  serverId: z.uuid(),
  region: z.string(),
  identifier: z.string(),
  changes: ModifyServer,
});
type Input = z.infer<typeof Input>;
type Context = StepContext<Input>;

/**
 * Changes an instance on RDS to what the registry shall have, at once. Most changes of class or version interrupt it
 * for a minute. Forward only: RDS takes none back.
 */
export const modifyServer: OperationDefinition<Input, RdsDeps> = {
  kind: 'server.modify',
  input: Input,
  cancellable: false,
  steps: [
    { name: 'modify', do: modify },
    { name: 'record', do: record },
  ],
};

/** @throws FleetError 409 `not_on_rds`, `operation_in_progress` */
export async function startModify(
  tx: Transaction,
  server: ServerRecord,
  changes: ModifyServer,
  asker: Asker,
): Promise<string> {
  const { identifier, spec } = await requireOnRds(tx, server);
  const input: Input = { serverId: server.id, region: server.region, identifier, changes };
  return startOnServer(tx, server, { definition: modifyServer, input, before: spec, after: changes }, asker);
}

async function modify({ input }: Context, deps: RdsDeps): Promise<void> {
  const { instances } = requireRds(deps, input.region);
  await ensureChanged(instances, input.serverId, input, definedOf(input.changes));
}

async function record({ input, transaction }: Context, { registry }: RdsDeps): Promise<void> {
  const found = await findInstance(registry, input.serverId);
  if (found === undefined) return;
  await transaction((tx) => setSpec(tx, input.serverId, { ...found.spec, ...definedOf(input.changes) }));
}

/** What a field leaves open is not changed. */
function definedOf<T extends object>(changes: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const given = Object.entries(changes).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as { [K in keyof T]: Exclude<T[K], undefined> };
}
