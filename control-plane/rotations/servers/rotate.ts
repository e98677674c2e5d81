import { z } from 'zod';
import { scramVerifier } from '../../../platform/crypto.ts';
import { FleetError, SQLSTATE, sqlState } from '../../../platform/errors.ts';
import {
  quoteIdent,
  quoteLiteral,
  withClient,
  type PgAddress,
  type PgPoolClient,
  type Queryable,
} from '../../../platform/pg.ts';
import type { OperationDefinition, StepContext } from '../../operations/definition.ts';
import { ADVISORY_LOCKS } from '../../registry/locks.ts';
import { TEMPLATE_OWNER } from '../../releases/template.ts';
import { findStaged, findVersion, noteRetired } from '../../secrets/store.ts';
import { verifyAdmin } from '../../servers/admin.ts';
import { listServerDatabases } from '../../servers/database-store.ts';
import { MIGRATORS, migratorOf, setMigratorsSql } from '../../servers/migrator.ts';
import { migratorSubject, serverSubject } from '../../servers/server.ts';
import type { RotationDeps } from '../deps.ts';

export const RotateServerInput = z.object({
  serverId: z.uuid(),
  name: z.string(),
  region: z.string(),
  /** The login that administers the server. */
  adminLogin: z.string(),
  /** The database that it enters. */
  adminDatabase: z.string(),
  /** The versions that are made: of the admin's credential, and of the one that all migrators share. */
  adminVersionId: z.uuid(),
  migratorVersionId: z.uuid(),
});
export type RotateServerInput = z.infer<typeof RotateServerInput>;
type Context = StepContext<RotateServerInput>;

/**
 * Gives a server's admin and its migrators new passwords. Nobody but the control plane uses these logins, so that they
 * change in place: both passwords stand in the store before the server learns of the new one, and whoever is refused with
 * the one tries the other (servers/access.ts). Sessions that are open stay so: nothing that runs notices.
 */
export const rotateServer: OperationDefinition<RotateServerInput, RotationDeps> = {
  kind: 'server.rotate',
  input: RotateServerInput,
  cancellable: true,
  steps: [
    { name: 'create', do: create, undo: destroy },
    { name: 'set', do: set, undo: setBack },
    { name: 'test', do: test },
    { name: 'finish', do: finish },
  ],
};

/** The two credentials, by what they open. */
function versionsOf({ serverId, adminLogin, adminVersionId, migratorVersionId }: RotateServerInput) {
  return [
    { id: adminVersionId, subject: serverSubject(serverId), login: adminLogin },
    { id: migratorVersionId, subject: migratorSubject(serverId), login: MIGRATORS },
  ];
}

/**
 * A rotation whose undo could not reach the server has left its pending versions, and their passwords may be in force:
 * they are destroyed when the server has the current ones again, and not earlier.
 */
async function create(context: Context, deps: RotationDeps): Promise<void> {
  const { input, transaction } = context;
  const owner = serverSubject(input.serverId);
  const isLeft = (await findLeft(deps.registry, input)).length > 0;
  if (isLeft) await setBack(context, deps);
  await transaction(async (tx) => {
    for (const id of await findLeft(tx, input)) {
      await deps.secrets.destroyVersion(tx, id);
      await noteRetired(tx, id, 'its rotation had failed and was not taken back');
    }
    for (const version of versionsOf(input)) {
      await deps.secrets.createVersion(tx, { ...version, owner, region: input.region });
    }
  });
  // As in destroy: of a migrator that was made in between.
  if (isLeft) await setBack(context, deps);
}

/** Ids of pending versions of the two subjects that are another rotation's. */
async function findLeft(db: Queryable, input: RotateServerInput): Promise<string[]> {
  const left: string[] = [];
  for (const { id, subject } of versionsOf(input)) {
    const pending = await findStaged(db, subject, 'pending');
    if (pending !== undefined && pending.id !== id) left.push(pending.id);
  }
  return left;
}

/**
 * A migrator that was made since `set` was undone may have the password that goes here: it gets the old one after that.
 */
async function destroy(context: Context, deps: RotationDeps): Promise<void> {
  const { input, transaction } = context;
  if (await isInForce(deps, input)) return;
  await transaction(async (tx) => {
    for (const { id } of versionsOf(input)) await deps.secrets.destroyVersion(tx, id);
  });
  await setBack(context, deps);
}

async function set({ input, signal, transaction }: Context, deps: RotationDeps): Promise<void> {
  const [admin, migrators] = await Promise.all(
    versionsOf(input).map(({ id }) => deps.secrets.password(deps.registry, id)),
  );
  signal.throwIfAborted();
  await transaction((tx) => setPasswords(tx, deps, input, { admin, migrators }));
}

/** Harmless where the old ones are still in force, and where the server has gone out of the fleet. */
async function setBack({ input, transaction }: Context, deps: RotationDeps): Promise<void> {
  if (await isInForce(deps, input)) return;
  const [admin, migrators] = await Promise.all(
    versionsOf(input).map(({ subject }) => deps.secrets.current(deps.registry, subject)),
  );
  if (admin === undefined || migrators === undefined) return;
  const before = { admin: admin.password, migrators: migrators.password };
  try {
    await transaction((tx) => setPasswords(tx, deps, input, before));
  } catch (error) {
    if (!(error instanceof FleetError) || error.code !== FIXED) throw error;
    // Then nothing was changed, and the old one opens the server.
    await verifyAdmin({ ...(await addressOf(deps, input)), password: before.admin, renew: undefined });
  }
}

/** Code of the refusal of a server that does not let its admin change its own password. */
const FIXED = 'admin_password_fixed';

function addressOf(deps: RotationDeps, { serverId, adminDatabase }: RotateServerInput): Promise<PgAddress> {
  return deps.servers.address(serverId, adminDatabase);
}

/**
 * All of them or none. The lease is held meanwhile: one that has lost it must not set what its successor has destroyed.
 */
async function setPasswords(
  tx: Queryable,
  deps: RotationDeps,
  input: RotateServerInput,
  { admin = '', migrators = '' }: { admin: string | undefined; migrators: string | undefined },
): Promise<void> {
  await deps.servers.admin(input.serverId, async (client) => {
    await client.query('BEGIN');
    // A killed worker's last statement may still be under way: it is waited for.
    await client.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCKS.template]);
    // Not earlier: whoever is not in here yet comes to know the newer password (servers/access.ts, makeMigrators).
    const databases = await listServerDatabases(tx, input.serverId);
    await setOwnPassword(client, input, scramVerifier(admin));
    const names = databases.map(({ name }) => name);
    await client.query(setMigratorsSql(names, TEMPLATE_OWNER, scramVerifier(migrators)));
    await tx.query('SELECT 1 -- the lease is still held');
    await client.query('COMMIT');
  });
}

/** @throws FleetError 409 `admin_password_fixed` where the server does not let its admin change it */
async function setOwnPassword(
  client: PgPoolClient,
  { name, adminLogin }: RotateServerInput,
  verifier: string,
): Promise<void> {
  try {
    await client.query(`ALTER ROLE ${quoteIdent(adminLogin)} PASSWORD ${quoteLiteral(verifier)}`);
  } catch (cause) {
    if (sqlState(cause) !== SQLSTATE.insufficientPrivilege) throw cause;
    throw new FleetError({
      code: FIXED,
      status: 409,
      message: `${adminLogin}, the admin of ${name}, may not change its own password there; it is still the old one`,
      fix: `let it: on RDS with rds.restrict_password_commands, GRANT rds_password TO ${quoteIdent(adminLogin)}; then fleet secret rotate --server ${name}`,
      cause,
    });
  }
}

/** With the new passwords and no other: the admin enters, and a migrator can act as its owner. */
async function test({ input, operationId }: Context, deps: RotationDeps): Promise<void> {
  const [admin = '', migrators = ''] = await Promise.all(
    versionsOf(input).map(({ id }) => deps.secrets.password(deps.registry, id)),
  );
  const address = await addressOf(deps, input);
  await verifyAdmin({ ...address, password: admin, renew: undefined });
  const databases = await listServerDatabases(deps.registry, input.serverId);
  const some = databases.find(({ state }) => state === 'ready');
  if (some === undefined) return;
  const asMigrator = { ...address, user: migratorOf(some.ownerRole), database: some.name };
  const session = { applicationName: `fleet:${operationId}`, settings: { role: some.ownerRole } };
  await withClient({ ...asMigrator, password: migrators, renew: undefined }, session, (client) =>
    client.query('SELECT 1'),
  );
}

/** Those before open nothing any more; the next health check destroys them, when nobody is just reading them. */
async function finish({ input, transaction }: Context, deps: RotationDeps): Promise<void> {
  await transaction(async (tx) => {
    for (const { id } of versionsOf(input)) await deps.secrets.promote(tx, id);
  });
}

/** Behind the last step there is no way back, and none is needed: the old passwords open nothing, the new ones work. */
async function isInForce({ registry }: RotationDeps, input: RotateServerInput): Promise<boolean> {
  const version = await findVersion(registry, input.adminVersionId);
  return version?.stage === 'current';
}
