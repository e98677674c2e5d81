import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { CreateServer } from '../../contract/server.ts';
import type { Asker } from '../access/caller.ts';
import type { OperationDefinition, StepContext } from '../operations/definition.ts';
import type { Transaction } from '../registry/registry.ts';
import { insertNewServer, startRegistration } from './add.ts';
import { embeddedProvider, type EmbeddedDeps } from './providers/embedded.ts';
import type { Provider } from './providers/provider.ts';
import { rdsProvider, requireRds, type RdsDeps } from './providers/rds.ts';
import { identifierOf, MASTER_DATABASE, MASTER_USER, RDS_PORT, specOf } from './providers/rds/instance.ts';
import { tlsOf } from './providers/rds/reach.ts';
import { insertInstance, type InstanceRecord } from './providers/rds/store.ts';
import {
  check,
  forgetServer,
  harden,
  ready,
  refuseRetry,
  RegistrationInput,
  unharden,
  unready,
  type RegistrationDeps,
} from './registration.ts';
import { setEndpoint, type NewServer } from './store.ts';

const Input = RegistrationInput.extend({
  /** On RDS: version of the password that the master is made with. */
  masterVersionId: z.uuid().optional(),
});
type Input = z.infer<typeof Input>;
type Context = StepContext<Input>;
type Deps = RegistrationDeps & EmbeddedDeps & RdsDeps;

/** Makes a PostgreSQL server, on this machine or on RDS, and takes it into the fleet. */
export const createServer: OperationDefinition<Input, Deps> = {
  kind: 'server.create',
  input: Input,
  cancellable: true,
  steps: [
    { name: 'start', do: start, undo: (context, deps) => providerOf(context, deps).discard() },
    { name: 'check', do: (context, deps) => check(context, deps, providerOf(context, deps)) },
    { name: 'harden', do: (context, deps) => harden(context, deps, providerOf(context, deps)), undo: soften },
    { name: 'ready', do: ready, undo: (context) => unready(context) },
  ],
  unwound: (tx, input, _end, deps) => forgetServer(tx, input, deps),
  retried: refuseRetry,
};

function providerOf({ input, transaction }: Context, deps: Deps): Provider {
  const { serverId, name, region, masterVersionId } = input;
  if (masterVersionId === undefined) return embeddedProvider(deps, { id: serverId, name });
  return rdsProvider(deps, { serverId, region, masterVersionId }, transaction);
}

async function start(context: Context, deps: Deps): Promise<void> {
  const { host, port } = await providerOf(context, deps).open();
  await context.transaction((tx) => setEndpoint(tx, context.input.serverId, { host, port }));
}

/** An instance on RDS goes with all that is in it: it must not be made again to take a role out of it. */
async function soften(context: Context, deps: Deps): Promise<void> {
  if (context.input.masterVersionId === undefined) await unharden(context, providerOf(context, deps));
}

/** The port is known once the cluster runs; the registry wants one before that. */
const PORT_TO_COME = 1;

/**
 * @throws FleetError `region_not_found`, `server_name_taken`; on RDS `rds_not_configured`, `bad_instance_name`
 */
export async function startCreateServer(
  tx: Transaction,
  { rds: wanted = {}, ...server }: CreateServer,
  asker: Asker,
  deps: Pick<RdsDeps, 'rds'> = {},
): Promise<{ operationId: string; serverId: string }> {
  const [operationId, serverId] = [randomUUID(), randomUUID()];
  if (server.provider === 'rds') {
    const rds = requireRds(deps, server.region);
    const spec = specOf(rds.siteOf(server.region), wanted);
    await insertRdsServer(
      tx,
      { ...server, id: serverId, tls: tlsOf(rds) },
      {
        ...{ identifier: identifierOf(rds.fleet, server.name), spec, adopted: false, tenantId: null },
      },
    );
  } else {
    const here = { host: '127.0.0.1', port: PORT_TO_COME, tls: 'disable' } as const;
    const admin = { adminUser: 'postgres', adminDatabase: 'postgres' };
    await insertNewServer(tx, { ...server, ...here, ...admin, id: serverId });
  }
  const input = {
    ...{ serverId, name: server.name, region: server.region },
    ...{ adminVersionId: randomUUID(), migratorVersionId: randomUUID() },
    ...(server.provider === 'rds' ? { masterVersionId: randomUUID() } : {}),
  } satisfies Input;
  await startRegistration(tx, { operationId, definition: createServer, input, asker });
  return { operationId, serverId };
}

/** Inserts the row of a server on RDS, and what its instance shall be. Until RDS has given an address, its name stands there. */
export async function insertRdsServer(
  tx: Transaction,
  server: Omit<NewServer, 'host' | 'port' | 'adminUser' | 'adminDatabase'>,
  instance: Omit<InstanceRecord, 'serverId'>,
): Promise<void> {
  await insertNewServer(tx, {
    ...server,
    ...{ host: instance.identifier, port: RDS_PORT, adminUser: MASTER_USER, adminDatabase: MASTER_DATABASE },
  });
  await insertInstance(tx, { ...instance, serverId: server.id });
}
