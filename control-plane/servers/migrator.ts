import { quoteIdent, quoteLiteral } from '../../platform/pg.ts';

/**
 * The logins of migration sessions. Each owner role has one: it may enter that owner's databases, act as the owner
 * there, keep the record of migrations, and that is all; databases belong to the admin, so that no owner role has a
 * right that reaches beyond its own. One login for all owners of a server would be simpler, but PostgreSQL goes
 * through every membership of a login at its first SET ROLE: 2 ms of each session with 500 tenants, 10 with 2,500.
 * Those of one server share a password, which only the fleet knows.
 */
const SUFFIX = '_migrator';

/** The login that may act as `ownerRole`. */
export function migratorOf(ownerRole: string): string {
  return ownerRole.replace(/_owner$/, '') + SUFFIX;
}

/** All of a server's, as a secret names its login, and as a pattern for LIKE. */
export const MIGRATORS = `*${SUFFIX}`;
export const MIGRATORS_LIKE = `%\\${SUFFIX}`;

/** Makes the role where there is none. Its maker's lock keeps two from making it at once. */
export function makeRoleSql(role: string): string {
  return `DO $$ BEGIN IF to_regrole(${quoteLiteral(role)}) IS NULL THEN CREATE ROLE ${quoteIdent(role)}; END IF; END $$;`;
}

/**
 * Makes the login that may act as `ownerRole`, or brings it to the same state. NOINHERIT: what an owner may do, it may
 * only after SET ROLE. One message's part, for the admin, under a lock of the owner role's maker.
 * @param verifier SCRAM verifier of its password; the password itself never reaches the server
 */
export function makeMigratorSql(ownerRole: string, verifier: string): string {
  const login = quoteIdent(migratorOf(ownerRole));
  return `${makeRoleSql(migratorOf(ownerRole))}
    ALTER ROLE ${login} WITH LOGIN NOINHERIT PASSWORD ${quoteLiteral(verifier)};
    GRANT ${quoteIdent(ownerRole)} TO ${login};`;
}

/**
 * Gives all migrators of a server another password: those of the owner roles that there are. For the admin, in one
 * transaction with its own, under the lock of templates: `ownerRole` is theirs. It waits for whoever works on the roles
 * of one of these databases (tenants/roles.ts).
 */
export function setMigratorsSql(databases: readonly string[], ownerRole: string, verifier: string): string {
  const names = databases.map((name) => `${quoteLiteral(name)}`).join(', ');
  const set = (login: string): string =>
    `IF to_regrole(quote_ident(${login})) IS NOT NULL THEN
       EXECUTE format('ALTER ROLE %I PASSWORD %L', ${login}, ${quoteLiteral(verifier)}); END IF;`;
  return `DO $$ DECLARE place text; BEGIN
    ${set(quoteLiteral(migratorOf(ownerRole)))}
    FOREACH place IN ARRAY ARRAY[${names}]::text[] LOOP
      PERFORM pg_advisory_xact_lock(hashtextextended(place, 0));
      ${set(`(place || ${quoteLiteral(SUFFIX)})`)}
    END LOOP; END $$;`;
}

/**
 * Lets the migrator into `database`, and its owner make schemas, trusted extensions and temporary tables there.
 * For the admin, whose database it is.
 */
export function openToMigratorSql(database: string, ownerRole: string): string {
  return `GRANT CONNECT ON DATABASE ${quoteIdent(database)} TO ${quoteIdent(migratorOf(ownerRole))};
    GRANT CREATE, TEMPORARY ON DATABASE ${quoteIdent(database)} TO ${quoteIdent(ownerRole)};`;
}

/** What the record of migrations consists of. */
const RECORD = 'fleet.migrations, fleet.progress, fleet.backfills';

/**
 * Lets the migrator keep the record of migrations in schema `fleet`, and the owner see, not change it: the proof of
 * applyDirectly reads it in the owner's role.
 */
export function grantRecordSql(ownerRole: string): string {
  const [owner, login] = [quoteIdent(ownerRole), quoteIdent(migratorOf(ownerRole))];
  return `GRANT USAGE ON SCHEMA fleet TO ${login}, ${owner};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ${RECORD} TO ${login};
    GRANT SELECT ON fleet.migrations, fleet.progress TO ${owner};`;
}

/** The inverse, for a copy that goes to another owner. */
export function revokeRecordSql(ownerRole: string): string {
  const roles = [ownerRole, migratorOf(ownerRole)].map(quoteIdent).join(', ');
  return `REVOKE ALL ON ${RECORD} FROM ${roles}; REVOKE ALL ON SCHEMA fleet FROM ${roles};`;
}
