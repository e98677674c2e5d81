import { FleetError, sqlState, SQLSTATE } from '../../platform/errors.ts';
import { quoteIdent, quoteLiteral, type PgAddress, type Queryable } from '../../platform/pg.ts';
import { connected, FLEET_MIGRATOR } from './inspect.ts';

/**
 * The login of migration sessions. It may enter every tenant's database and act as its owner there, and that is
 * all: databases belong to the admin, so that no owner role has a right that reaches beyond its own database.
 */
const MIGRATOR = quoteIdent(FLEET_MIGRATOR);

/**
 * Makes the login or brings it to the same state. NOINHERIT: what an owner may do, it may only after SET ROLE.
 * @param address of the superuser or admin that the server is registered with
 * @param verifier SCRAM verifier of its password; the password itself never reaches the server
 * @throws FleetError `server_admin_too_weak` when somebody else has made it
 */
export async function ensureMigratorRole(address: PgAddress, verifier: string): Promise<void> {
  await connected(address, async (client) => {
    const { rows } = await client.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [FLEET_MIGRATOR]);
    const verb = rows.length === 0 ? 'CREATE' : 'ALTER';
    await client
      .query(
        `${verb} ROLE ${MIGRATOR} WITH LOGIN NOCREATEDB NOCREATEROLE NOINHERIT
           CONNECTION LIMIT -1 PASSWORD ${quoteLiteral(verifier)}`,
      )
      .catch((error: unknown) => {
        throw sqlState(error) === SQLSTATE.insufficientPrivilege ? notOurs(address.user) : error;
      });
  });
}

/** Proves the credential. The login has no right to enter the admin's database: to be refused that is enough. */
export async function verifyMigrator(address: PgAddress): Promise<void> {
  try {
    await connected(address, (client) => client.query('SELECT 1'));
  } catch (error) {
    if (sqlState(error) !== SQLSTATE.insufficientPrivilege) throw error;
  }
}

function notOurs(user: string): FleetError {
  return new FleetError({
    code: 'server_admin_too_weak',
    status: 422,
    message: `the server has a role ${FLEET_MIGRATOR} already, and ${user} may not change it`,
    fix: `as a superuser there: DROP ROLE ${FLEET_MIGRATOR}`,
  });
}

/** Lets the migrator act as `ownerRole`. One statement, for the admin. */
export function grantOwnerSql(ownerRole: string): string {
  return `GRANT ${quoteIdent(ownerRole)} TO ${MIGRATOR};`;
}

/**
 * Lets the migrator into `database`, and its owner make schemas, trusted extensions and temporary tables there.
 * For the admin, whose database it is.
 */
export function openToMigratorSql(database: string, ownerRole: string): string {
  return `GRANT CONNECT ON DATABASE ${quoteIdent(database)} TO ${MIGRATOR};
    GRANT CREATE, TEMPORARY ON DATABASE ${quoteIdent(database)} TO ${quoteIdent(ownerRole)};`;
}

/** Lets the migrator keep the record of migrations in schema `fleet`; part of every template. */
export function grantRecordSql(): string {
  return `GRANT USAGE ON SCHEMA fleet TO ${MIGRATOR};
    GRANT SELECT, INSERT, UPDATE, DELETE ON fleet.migrations, fleet.progress, fleet.backfills TO ${MIGRATOR};`;
}

/** Lets the owner see, not change, what is recorded: the proof of applyDirectly reads it in the owner's role. */
export function grantOwnerRecordSql(ownerRole: string): string {
  return `GRANT USAGE ON SCHEMA fleet TO ${quoteIdent(ownerRole)};
    GRANT SELECT ON fleet.migrations, fleet.progress TO ${quoteIdent(ownerRole)};`;
}

/** Harmless when it is gone. It can no longer log in where something still depends on it. */
export async function dropMigratorRole(client: Queryable): Promise<void> {
  await client.query(`DO $$ BEGIN
    IF to_regrole(${quoteLiteral(FLEET_MIGRATOR)}) IS NOT NULL THEN
      BEGIN
        DROP ROLE ${MIGRATOR};
      EXCEPTION WHEN dependent_objects_still_exist THEN
        ALTER ROLE ${MIGRATOR} WITH NOLOGIN PASSWORD NULL;
      END;
    END IF;
  END $$`);
}
