import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { AddServer } from '../../contract/server.ts';
import { FleetError, sqlState, SQLSTATE } from '../../platform/errors.ts';
import type { Asker } from '../access/caller.ts';
import type { OperationDefinition, StepContext } from '../operations/definition.ts';
import type { Transaction } from '../registry/registry.ts';
import type { Secrets } from '../secrets/secret.ts';
import { adoptInstance } from './adopt.ts';
import { parseServerUrl } from './address.ts';
import { postgresProvider } from './providers/postgres.ts';
import type { RdsDeps } from './providers/rds.ts';
import type { Provider } from './providers/provider.ts';
import {
  alreadyRegistered,
  check,
  forgetServer,
  harden,
  ready,
  refuseRetry,
  RegistrationInput,
  unharden,
  unready,
  type Checked,
  type RegistrationDeps,
} from './registration.ts';
import { findRegion } from './region-store.ts';
import { regionNotFound } from './region.ts';
import { serverSubject } from './server.ts';
import { startOnServer } from './start-operation.ts';
import { findServer, findServerAt, insertServer, type NewServer } from './store.ts';

const Input = RegistrationInput.extend({
  /** User of the URL that the server was registered with. */
  bootstrapUser: z.string(),
  /** Version of that user's password. */
  bootstrapVersionId: z.uuid(),
  /** Name of the instance on RDS that it is. */
  instance: z.string().optional(),
});
type Input = z.infer<typeof Input>;
type Deps = RegistrationDeps & RdsDeps;

/** Takes an existing PostgreSQL server into the fleet. */
export const addServer: OperationDefinition<Input, Deps> = {
  kind: 'server.add',
  input: Input,
  cancellable: true,
  steps: [
    { name: 'check', do: look },
    {
      name: 'harden',
      do: (context, deps) => harden(context, deps, providerOf(context.input, deps)),
      undo: (context, deps) => unharden(context, providerOf(context.input, deps)),
    },
    { name: 'ready', do: ready, undo: (context) => unready(context) },
  ],
  unwound: (tx, input, _end, deps) => forgetServer(tx, input, deps),
  retried: refuseRetry,
};

async function look(context: StepContext<Input>, deps: Deps): Promise<Checked> {
  const { instance, ...server } = context.input;
  if (instance !== undefined) await adoptInstance(deps, { ...server, instance }, context.transaction);
  return check(context, deps, providerOf(context.input, deps));
}

function providerOf(input: Input, deps: RegistrationDeps): Provider {
  return postgresProvider(deps, {
    serverId: input.serverId,
    user: input.bootstrapUser,
    versionId: input.bootstrapVersionId,
  });
}

/**
 * Stores the server, seals the URL's password and starts the operation, all in `tx`.
 * @throws FleetError `bad_server_url`, `region_not_found`, `server_name_taken`, `server_already_registered`
 */
export async function startAddServer(
  tx: Transaction,
  secrets: Secrets,
  wanted: AddServer,
  asker: Asker,
): Promise<{ operationId: string; serverId: string }> {
  const address = parseServerUrl(wanted.url);
  const { url: _url, instance, ...rest } = wanted;
  const [operationId, serverId] = [randomUUID(), randomUUID()];
  await insertNewServer(tx, {
    ...rest,
    id: serverId,
    provider: instance === undefined ? 'postgres' : 'rds',
    host: address.host,
    port: address.port,
    tls: address.tls,
    adminUser: address.user,
    adminDatabase: address.database,
  });
  const subject = serverSubject(serverId);
  const input: Input = {
    serverId,
    name: wanted.name,
    region: wanted.region,
    adminVersionId: randomUUID(),
    migratorVersionId: randomUUID(),
    bootstrapUser: address.user,
    bootstrapVersionId: randomUUID(),
    ...(instance === undefined ? {} : { instance }),
  };
  const version = { owner: subject, subject, region: wanted.region, login: address.user };
  await secrets.importVersion(tx, { ...version, id: input.bootstrapVersionId }, address.password);
  await startRegistration(tx, { operationId, definition: addServer, input, asker });
  return { operationId, serverId };
}

/** Inserts the row of a server to be, after the checks that every way of making one has in common. */
export async function insertNewServer(tx: Transaction, server: NewServer): Promise<void> {
  if ((await findRegion(tx, server.region)) === undefined) throw regionNotFound(server.region);
  const namesake = await findServer(tx, server.name);
  if (namesake !== undefined && namesake.state !== 'retired') throw nameTaken(server.name);
  const atSamePlace = await findServerAt(tx, server.host, server.port);
  if (server.provider !== 'embedded' && atSamePlace !== undefined) throw alreadyRegistered(atSamePlace);
  try {
    await insertServer(tx, server);
  } catch (error) {
    if (sqlState(error) === SQLSTATE.uniqueViolation) throw nameTaken(server.name);
    throw error;
  }
}

function nameTaken(name: string): FleetError {
  return new FleetError({
    code: 'server_name_taken',
    status: 409,
    message: `there is a server ${name} already`,
    fix: 'choose another name',
  });
}

interface Registration {
  operationId: string;
  definition: { kind: string; steps: { name: string }[] };
  input: RegistrationInput;
  asker: Asker;
}

export async function startRegistration(tx: Transaction, registration: Registration): Promise<void> {
  const { operationId: id, definition, input, asker } = registration;
  const { serverId, name, region } = input;
  const server = await findServer(tx, serverId);
  const after = { id: serverId, host: server?.host, port: server?.port, mode: server?.mode };
  await startOnServer(tx, { id: serverId, name, region }, { id, definition, input, after }, asker);
}
