import { z } from 'zod';
import { scramVerifier } from '../../platform/crypto.ts';
import { FleetError, isUnreachable } from '../../platform/errors.ts';
import type { PgAddress } from '../../platform/pg.ts';
import type { StepContext } from '../operations/definition.ts';
import type { Registry, Transaction } from '../registry/registry.ts';
import type { Secrets } from '../secrets/secret.ts';
import { hardenAsAdmin, hardenAsSuperuser, removeRoles, verifyAdmin } from './admin.ts';
import { lockPlacement } from './database-store.ts';
import { assertUsable, FLEET_ADMIN, inspectServer } from './inspect.ts';
import { MIGRATORS } from './migrator.ts';
import type { Provider } from './providers/provider.ts';
import {
  migratorSubject,
  serverInWrongState,
  serverNotFound,
  serverSubject,
  transitionServer,
} from './server.ts';
import { deleteProvisioning, findServer, moveServer, setServerAdmin } from './store.ts';

/** What registering and creating a server have in common: check → harden → ready, and their inverses. */
export const RegistrationInput = z.object({
  serverId: z.uuid(),
  name: z.string(),
  region: z.string(),
  /** Version of the credential of fleet_admin. */
  adminVersionId: z.uuid(),
  /** Version of the credential of the migrators. */
  migratorVersionId: z.uuid(),
});
export type RegistrationInput = z.infer<typeof RegistrationInput>;

export interface RegistrationDeps {
  registry: Registry;
  secrets: Secrets;
}

type Context = StepContext<RegistrationInput>;

export const Checked = z.object({
  version: z.number().int(),
  /** Absent in what an older version of this program found out. */
  maxConnections: z.number().int().optional(),
  superuser: z.boolean(),
});
export type Checked = z.infer<typeof Checked>;
export const Hardened = z.object({ adminUser: z.string() });
export type Hardened = z.infer<typeof Hardened>;

/** Looks before anything is changed. @throws FleetError for each reason not to take the server */
export async function check(
  { input }: Context,
  deps: RegistrationDeps,
  provider: Provider,
): Promise<Checked> {
  const address = await provider.open();
  const facts = await inspectServer(address);
  assertUsable(facts, address.user);
  if (facts.managedBy !== null && facts.managedBy !== input.serverId) {
    const other = await findServer(deps.registry, facts.managedBy);
    if (other !== undefined && other.state !== 'retired') throw alreadyRegistered(other.name);
  }
  return { version: facts.version, maxConnections: facts.maxConnections, superuser: facts.superuser };
}

export function alreadyRegistered(name: string): FleetError {
  return new FleetError({
    code: 'server_already_registered',
    status: 409,
    message: `this PostgreSQL server is already in the fleet, as ${name}`,
    fix: `fleet server get ${name}`,
  });
}

/** Each new credential is stored before the server learns of it: a repeated step sets the same password. */
export async function harden(
  context: Context,
  deps: RegistrationDeps,
  provider: Provider,
  checked: Checked = context.output('check', Checked),
): Promise<Hardened> {
  const address = await provider.open();
  const adminUser = await hardenServer(context, deps, address, checked);
  const { serverId, migratorVersionId: id } = context.input;
  const migrators = { id, owner: serverSubject(serverId), subject: migratorSubject(serverId) };
  // The logins that have it are made with the owner roles that they act as.
  await context.transaction(async (tx) => {
    await deps.secrets.createVersion(tx, { ...migrators, region: context.input.region, login: MIGRATORS });
    await deps.secrets.promote(tx, id);
  });
  return { adminUser };
}

/** Returns the login that administers the server from now on. */
async function hardenServer(
  context: Context,
  deps: RegistrationDeps,
  address: PgAddress,
  { superuser }: Checked,
): Promise<string> {
  const { serverId, adminVersionId: id } = context.input;
  if (!superuser) {
    await hardenAsAdmin(address);
    return address.user;
  }
  const admin = { id, subject: serverSubject(serverId), login: FLEET_ADMIN };
  await makeLogin(context, deps, admin, async (verifier, password) => {
    await hardenAsSuperuser(address, serverId, verifier);
    await verifyAdmin({ ...address, user: FLEET_ADMIN, password });
  });
  return FLEET_ADMIN;
}

/** Stores the credential, lets `make` set it on the server and prove it, and makes it the current one. */
async function makeLogin(
  { input, transaction }: Context,
  deps: RegistrationDeps,
  version: { id: string; subject: string; login: string },
  make: (verifier: string, password: string) => Promise<void>,
): Promise<void> {
  const owner = serverSubject(input.serverId);
  await transaction((tx) => deps.secrets.createVersion(tx, { ...version, owner, region: input.region }));
  const password = await deps.secrets.password(deps.registry, version.id);
  await make(scramVerifier(password), password);
  await transaction((tx) => deps.secrets.promote(tx, version.id));
}

/** A server that cannot be reached any more cannot be tidied up either, and must not hold its name for that. */
export async function unharden({ input, logger }: Context, provider: Provider): Promise<void> {
  try {
    await removeRoles(await provider.open(), input.serverId);
  } catch (error) {
    const expected = error instanceof FleetError || isUnreachable(error);
    if (!expected) throw error;
    logger.warn('the admin role could not be taken off the server', { server: input.name, error });
  }
}

/**
 * Opens the server for placement. The credential that it came with stays as `previous`, so that this step can
 * still be undone; the next health check destroys it (see health.ts).
 */
export async function ready(context: Context): Promise<void> {
  await admit(context, context.output('check', Checked), context.output('harden', Hardened));
}

/** The same, for whoever has the findings at hand. */
export async function admit(context: Context, checked: Checked, { adminUser }: Hardened): Promise<void> {
  const { input } = context;
  const { version, maxConnections = null } = checked;
  await context.transaction(async (tx) => {
    await lockPlacement(tx, input.region);
    await step(tx, input.serverId, 'ready');
    await setServerAdmin(tx, input.serverId, { adminUser, serverVersion: version, maxConnections });
  });
}

/**
 * @param reserved databases that have room there and are not in the way
 * @throws FleetError `server_in_use` when a tenant was placed there meanwhile
 */
export async function unready({ input, transaction }: Context, reserved = 0): Promise<void> {
  await transaction(async (tx) => {
    await lockPlacement(tx, input.region);
    const server = await findServer(tx, input.serverId);
    if (server === undefined || server.state === 'provisioning') return;
    if (server.databases > reserved) throw serverInUse(server.name, server.databases);
    await step(tx, input.serverId, 'unready');
  });
}

async function step(tx: Transaction, serverId: string, event: 'ready' | 'unready'): Promise<void> {
  const server = await findServer(tx, serverId);
  if (server === undefined) throw serverNotFound(serverId);
  const next = transitionServer(server.state, event);
  if (next === undefined) throw serverInWrongState(server, event);
  if (next !== server.state) await moveServer(tx, serverId, server.state, next);
}

export function serverInUse(name: string, databases: number): FleetError {
  return new FleetError({
    code: 'server_in_use',
    status: 409,
    message: `server ${name} still holds ${databases} ${databases === 1 ? 'database' : 'databases'}`,
    fix: `fleet tenant list --server ${name} shows whose; a server can be removed when they are deleted`,
  });
}

/** Nothing stays of a failed registration but the operation and the audit log: the name is free again. */
export async function forgetServer(
  tx: Transaction,
  input: RegistrationInput,
  deps: RegistrationDeps,
): Promise<void> {
  await deps.secrets.destroyOwner(tx, serverSubject(input.serverId));
  await deleteProvisioning(tx, input.serverId);
}

/** The credential was destroyed with the failed attempt, so there is nothing to try again with. */
export function refuseRetry(): Promise<never> {
  return Promise.reject(
    new FleetError({
      code: 'not_retryable',
      status: 409,
      message: 'a failed registration was undone, its credential included',
      fix: 'register the server anew: fleet server add, or fleet server create',
    }),
  );
}
