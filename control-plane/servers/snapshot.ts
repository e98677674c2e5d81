import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { FleetError } from '../../platform/errors.ts';
import type { Asker } from '../access/caller.ts';
import type { OperationDefinition } from '../operations/definition.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { Transaction } from '../registry/registry.ts';
import { requireRds, type RdsDeps } from './providers/rds.ts';
import { identifierOf, tagsOf } from './providers/rds/instance.ts';
import { ensureSnapshot } from './providers/rds/lifecycle.ts';
import { patiently } from './providers/rds/waiting.ts';
import { findInstance, type InstanceRecord } from './providers/rds/store.ts';
import type { ServerRecord } from './server.ts';
import { startOnServer } from './start-operation.ts';

const Input = z.object({
  serverId: z.uuid(),
  region: z.string(),
  identifier: z.string(),
  /** What RDS calls the snapshot. */
  snapshot: z.string(),
});
type Input = z.infer<typeof Input>;

/** Takes a snapshot of a whole server on RDS. It stays until somebody deletes it there. */
export const snapshotServer: OperationDefinition<Input, RdsDeps> = {
  kind: 'server.snapshot',
  input: Input,
  cancellable: true,
  steps: [
    {
      name: 'snapshot',
      do: async ({ input }, deps) => {
        const { fleet, instances } = requireRds(deps, input.region);
        const tags = tagsOf(fleet, input);
        await ensureSnapshot(instances, input.serverId, input, { identifier: input.snapshot, tags });
      },
      undo: ({ input }, deps) => {
        const place = { region: input.region, identifier: input.snapshot };
        // RDS deletes none that is still being made.
        return patiently(() => requireRds(deps, input.region).instances.removeSnapshot(place));
      },
    },
  ],
};

/** @throws FleetError 409 `not_on_rds`, `operation_in_progress`, `rds_not_configured` */
export async function startSnapshot(
  tx: Transaction,
  server: ServerRecord,
  asker: Asker,
  deps: Pick<RdsDeps, 'rds'>,
): Promise<{ operationId: string; snapshot: string }> {
  const { identifier } = await requireOnRds(tx, server);
  const operationId = randomUUID();
  const { id, name, region } = server;
  // By the fleet's name for it, also where its own is another: the fleet may make no snapshots but of its own name.
  const snapshot = `${identifierOf(requireRds(deps, region).fleet, name)}-${operationId.slice(0, 8)}`;
  const input: Input = { serverId: id, region, identifier, snapshot };
  const wanted = { id: operationId, definition: snapshotServer, input, after: { snapshot } };
  await startOnServer(tx, server, wanted, asker);
  return { operationId, snapshot };
}

/** @throws FleetError 409 `not_on_rds` */
export async function requireOnRds(
  db: Queryable,
  { id, name, provider }: ServerRecord,
): Promise<InstanceRecord> {
  const record = await findInstance(db, id);
  if (record !== undefined) return record;
  throw new FleetError({
    code: 'not_on_rds',
    status: 409,
    message: `server ${name} is no instance on RDS that the fleet has to do with (provider ${provider})`,
    fix: `fleet server add NAME --instance ID takes one into the fleet; otherwise use the tools of its own host`,
  });
}
