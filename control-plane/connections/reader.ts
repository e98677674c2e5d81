import { sqlState, SQLSTATE } from '../../platform/errors.ts';
import { quoteIdent, quoteLiteral, withClient, type Queryable } from '../../platform/pg.ts';
import { databaseNames, readerNames, type DatabaseNames } from '../servers/database.ts';
import type { ServerAccess } from '../servers/access.ts';
import { makeRoleSql } from '../servers/migrator.ts';
import { grantReading } from '../releases/reading.ts';
import { endSessions, lockSql } from '../tenants/roles.ts';

/**
 * A login that reads one database and can do nothing else, made and removed as the server's admin. What it may read
 * is granted to a role of the database that all such logins are members of: a login owns nothing and holds no right
 * of its own, so that it can always be dropped.
 */
export interface Place {
  serverId: string;
  databaseId: string;
}

export interface ReaderLogin {
  login: string;
  /** Client-made SCRAM verifier; the password itself never reaches the server. */
  verifier: string;
  expiresAt: Date;
  /** Sessions at once. */
  sessions: number;
}

/**
 * In PostgreSQL's notation. A person's query that runs for a minute costs the tenant more than it tells; an idle
 * transaction holds back vacuum. Not what keeps them from writing: anybody can change their own settings.
 */
const SETTINGS = {
  default_transaction_read_only: 'on',
  statement_timeout: '60s',
  idle_in_transaction_session_timeout: '60s',
  lock_timeout: '2s',
};

/** Repeated, it has the effect of once. @throws FleetError 409 `migration_locked` while the database is migrated */
export async function makeReader(
  servers: ServerAccess,
  { serverId, databaseId }: Place,
  reader: ReaderLogin,
): Promise<void> {
  const names = databaseNames(databaseId);
  const { role } = readerNames(names.name);
  await servers.admin(serverId, (admin) =>
    admin.query(`${lockSql(names)} ${makeRoleSql(role)}
      GRANT CONNECT ON DATABASE ${quoteIdent(names.name)} TO ${quoteIdent(role)};`),
  );
  const address = await servers.address(serverId, names.name);
  await withClient(address, { applicationName: 'fleet-admin' }, (client) =>
    grantReading(client, names.ownerRole, role),
  );
  await servers.admin(serverId, (admin) => admin.query(makeLoginSql(names, reader)));
}

function makeLoginSql(names: DatabaseNames, { login, verifier, expiresAt, sessions }: ReaderLogin): string {
  const role = quoteIdent(login);
  const settings = Object.entries(SETTINGS).map(
    ([name, value]) =>
      `ALTER ROLE ${role} IN DATABASE ${quoteIdent(names.name)} SET ${name} = ${quoteLiteral(value)};`,
  );
  return `${lockSql(names)} ${makeRoleSql(login)}
    ALTER ROLE ${role} WITH LOGIN INHERIT CONNECTION LIMIT ${sessions} PASSWORD ${quoteLiteral(verifier)}
      VALID UNTIL ${quoteLiteral(expiresAt.toISOString())};
    GRANT ${quoteIdent(readerNames(names.name).role)} TO ${role};
    ${settings.join(' ')}`;
}

/** Ends its sessions and drops it. Harmless where there is none. */
export async function dropReader(
  servers: ServerAccess,
  { serverId, databaseId }: Place,
  login: string,
): Promise<void> {
  const names = databaseNames(databaseId);
  await servers.admin(serverId, async (admin) => {
    await admin.query(`${lockSql(names)} DO $$ BEGIN IF to_regrole(${quoteLiteral(login)}) IS NOT NULL THEN
      ALTER ROLE ${quoteIdent(login)} NOLOGIN; END IF; END $$;`);
    await endSessions(admin, [login]);
  });
  const drop = () =>
    servers.admin(serverId, (admin) => admin.query(`DROP ROLE IF EXISTS ${quoteIdent(login)}`));
  try {
    await drop();
  } catch (error) {
    if (sqlState(error) !== SQLSTATE.dependentObjectsStillExist) throw error;
    const address = await servers.address(serverId, names.name);
    await withClient(address, { applicationName: 'fleet-admin' }, (client) => dropOwned(client, login));
    await drop();
  }
}

/** PostgreSQL lets every login make large objects, and no right can be taken away to prevent it. */
async function dropOwned(client: Queryable, login: string): Promise<void> {
  await client.query(`GRANT ${quoteIdent(login)} TO CURRENT_USER; DROP OWNED BY ${quoteIdent(login)};`);
}
