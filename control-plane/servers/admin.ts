import { FleetError, sqlState, SQLSTATE } from '../../platform/errors.ts';
import { quoteIdent, quoteLiteral, type PgAddress, type PgClient } from '../../platform/pg.ts';
import { ADMIN_MARK, connected, FLEET_ADMIN } from './inspect.ts';

/**
 * Hardening a server at registration: nothing for PUBLIC in the databases that every login could otherwise
 * enter, and an admin role of our own that is no superuser. Run twice, it has the effect of once. Databases
 * that others made on the server are not touched.
 */
const OPEN_DATABASES = ['postgres', 'template1'];

/**
 * With a superuser: makes or adjusts fleet_admin and closes the open databases.
 * @param verifier SCRAM verifier of fleet_admin's password; the password itself never reaches the server
 */
export async function hardenAsSuperuser(
  address: PgAddress,
  serverId: string,
  verifier: string,
): Promise<void> {
  await connected(address, async (client) => {
    await client.query('BEGIN');
    await ensureAdminRole(client, serverId, verifier);
    await client.query(`GRANT pg_signal_backend, pg_monitor TO ${quoteIdent(FLEET_ADMIN)}`);
    for (const database of await existing(client)) {
      await client.query(`REVOKE ALL ON DATABASE ${quoteIdent(database)} FROM PUBLIC`);
    }
    await client.query(
      `GRANT CONNECT ON DATABASE ${quoteIdent(address.database)} TO ${quoteIdent(FLEET_ADMIN)}`,
    );
    await client.query('COMMIT');
  });
  await closePublicSchemas(address);
}

async function ensureAdminRole(client: PgClient, serverId: string, verifier: string): Promise<void> {
  const { rows } = await client.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [FLEET_ADMIN]);
  const verb = rows.length === 0 ? 'CREATE' : 'ALTER';
  await client.query(
    `${verb} ROLE ${quoteIdent(FLEET_ADMIN)} WITH LOGIN NOSUPERUSER CREATEDB CREATEROLE INHERIT NOREPLICATION
       NOBYPASSRLS CONNECTION LIMIT -1 PASSWORD ${quoteLiteral(verifier)}`,
  );
  await client.query(`COMMENT ON ROLE ${quoteIdent(FLEET_ADMIN)} IS ${quoteLiteral(ADMIN_MARK + serverId)}`);
}

/**
 * With an admin who is no superuser (a managed service): closes what that user owns, then makes sure that
 * nothing is left open.
 * @throws FleetError `server_open_to_public`, with the statements that a superuser must run
 */
export async function hardenAsAdmin(address: PgAddress): Promise<void> {
  const open = await connected(address, async (client) => {
    for (const database of await existing(client)) {
      await client.query(`REVOKE ALL ON DATABASE ${quoteIdent(database)} FROM PUBLIC`).catch(ignoreForbidden);
    }
    return openToPublic(client);
  });
  if (open.length > 0) {
    throw new FleetError({
      code: 'server_open_to_public',
      status: 422,
      message: `every login may enter ${open.join(' and ')} on the server, and ${address.user} may not change that`,
      fix: `as the owner there: ${open.map((name) => `REVOKE ALL ON DATABASE ${quoteIdent(name)} FROM PUBLIC;`).join(' ')}`,
    });
  }
  await closePublicSchemas(address).catch(ignoreForbidden);
}

async function existing(client: PgClient): Promise<string[]> {
  const { rows } = await client.query<{ datname: string }>(
    'SELECT datname FROM pg_database WHERE datname = ANY ($1) ORDER BY datname',
    [OPEN_DATABASES],
  );
  return rows.map((row) => row.datname);
}

/** Databases of the two that PUBLIC may connect to. No ACL at all means the default, which lets everyone in. */
async function openToPublic(client: PgClient): Promise<string[]> {
  const { rows } = await client.query<{ datname: string }>(
    `SELECT d.datname FROM pg_database d
      WHERE d.datname = ANY ($1) AND d.datallowconn AND EXISTS (
        SELECT 1 FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
         WHERE a.grantee = 0 AND a.privilege_type = 'CONNECT')
      ORDER BY d.datname`,
    [OPEN_DATABASES],
  );
  return rows.map((row) => row.datname);
}

/**
 * New databases are copies of template1, so what PUBLIC lacks there it lacks in each of them. The connection
 * is short: while it lasts, nobody can copy template1.
 */
async function closePublicSchemas(address: PgAddress): Promise<void> {
  const databases = await connected(address, (client) => existing(client));
  for (const database of databases) {
    await connected({ ...address, database }, async (client) => {
      const { rows } = await client.query("SELECT 1 FROM pg_namespace WHERE nspname = 'public'");
      if (rows.length > 0) await client.query('REVOKE ALL ON SCHEMA public FROM PUBLIC');
    });
  }
}

/** Proves that the login can enter. */
export async function verifyAdmin(address: PgAddress): Promise<void> {
  await connected(address, (client) => client.query('SELECT 1'));
}

/**
 * The inverse: takes fleet_admin and its migrator away where they were made for this server. A role that still
 * owns something (an earlier fleet's templates) stays, but can no longer log in. What was closed to PUBLIC stays
 * closed.
 */
export async function removeRoles(address: PgAddress, serverId: string): Promise<void> {
  await connected(address, async (client) => {
    const { rows } = await client.query(
      "SELECT 1 FROM pg_roles WHERE rolname = $1 AND shobj_description(oid, 'pg_authid') = $2",
      [FLEET_ADMIN, ADMIN_MARK + serverId],
    );
    if (rows.length === 0) return;
    const role = quoteIdent(FLEET_ADMIN);
    await client.query(`REVOKE ALL ON DATABASE ${quoteIdent(address.database)} FROM ${role}`);
    await client.query(`DROP ROLE IF EXISTS ${role}`).catch(async (error: unknown) => {
      if (sqlState(error) === SQLSTATE.undefinedObject) return;
      if (sqlState(error) !== SQLSTATE.dependentObjectsStillExist) throw error;
      await client.query(`ALTER ROLE ${role} WITH NOLOGIN PASSWORD NULL`);
      await client.query(`COMMENT ON ROLE ${role} IS NULL`);
    });
  });
}

function ignoreForbidden(error: unknown): void {
  if (sqlState(error) !== SQLSTATE.insufficientPrivilege) throw error;
}
