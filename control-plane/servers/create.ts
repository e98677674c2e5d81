import { randomUUID } from 'node:crypto';
import type { CreateServer } from '../../contract/server.ts';
import type { Asker } from '../access/caller.ts';
import type { OperationDefinition, StepContext } from '../operations/definition.ts';
import type { Transaction } from '../registry/registry.ts';
import { insertNewServer, startRegistration } from './add.ts';
import { embeddedProvider, type EmbeddedDeps } from './providers/embedded.ts';
import type { Provider } from './providers/provider.ts';
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
import { setEndpoint } from './store.ts';

type Deps = RegistrationDeps & EmbeddedDeps;

/** Makes a PostgreSQL server on this machine and takes it into the fleet. */
export const createServer: OperationDefinition<RegistrationInput, Deps> = {
  kind: 'server.create',
  input: RegistrationInput,
  cancellable: true,
  steps: [
    { name: 'start', do: start, undo: discard },
    { name: 'check', do: (context, deps) => check(context, deps, providerOf(context.input, deps)) },
    {
      name: 'harden',
      do: (context, deps) => harden(context, deps, providerOf(context.input, deps)),
      undo: (context, deps) => unharden(context, providerOf(context.input, deps)),
    },
    { name: 'ready', do: ready, undo: unready },
  ],
  unwound: (tx, input, _end, deps) => forgetServer(tx, input, deps),
  retried: refuseRetry,
};

function providerOf(input: RegistrationInput, deps: Deps): Provider {
  return embeddedProvider(deps, { id: input.serverId, name: input.name });
}

async function start({ input, transaction }: StepContext<RegistrationInput>, deps: Deps): Promise<void> {
  const { host, port } = await providerOf(input, deps).open();
  await transaction((tx) => setEndpoint(tx, input.serverId, { host, port }));
}

function discard({ input }: StepContext<RegistrationInput>, deps: Deps): Promise<void> {
  return providerOf(input, deps).discard();
}

/** The port is known once the cluster runs; the registry wants one before that. */
const PORT_TO_COME = 1;

/** @throws FleetError `region_not_found`, `server_name_taken` */
export async function startCreateServer(
  tx: Transaction,
  wanted: CreateServer,
  asker: Asker,
): Promise<{ operationId: string; serverId: string }> {
  const [operationId, serverId] = [randomUUID(), randomUUID()];
  await insertNewServer(tx, {
    ...wanted,
    id: serverId,
    host: '127.0.0.1',
    port: PORT_TO_COME,
    tls: 'disable',
    adminUser: 'postgres',
    adminDatabase: 'postgres',
  });
  const input = {
    ...{ serverId, name: wanted.name, region: wanted.region },
    ...{ adminVersionId: randomUUID(), migratorVersionId: randomUUID() },
  };
  await startRegistration(tx, { operationId, definition: createServer, input, asker });
  return { operationId, serverId };
}
