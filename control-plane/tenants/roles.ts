import { quoteIdent, quoteLiteral, type Queryable } from '../../platform/pg.ts';
import { readerNames, type DatabaseNames } from '../servers/database.ts';
import { makeMigratorSql, makeRoleSql, migratorOf } from '../servers/migrator.ts';

/**
 * The roles of one tenant's database on its server, made and removed as the server's admin. Each function is
 * one message: several statements that PostgreSQL runs as one transaction, so that half a result never stays.
 */

export interface LoginSpec {
  /** Client-made SCRAM verifier; the password itself never reaches the server. */
  verifier: string;
  /** That of the server's migrators. */
  migratorVerifier: string;
  /** Sessions that the login may hold at once. */
  connectionLimit: number;
}

/**
 * Waits for whoever works on the same database's objects. A worker that was killed in the middle leaves its
 * last statement running on the server: its successor must see that statement's result, not race it.
 */
export function lockSql(names: Pick<DatabaseNames, 'name'>): string {
  return `SELECT pg_advisory_xact_lock(hashtextextended(${quoteLiteral(names.name)}, 0));`;
}

/** Makes owner, data role, migrator and login `a`, or brings those that exist to the same state. */
export async function createRoles(admin: Queryable, names: DatabaseNames, login: LoginSpec): Promise<void> {
  await admin.query(`${lockSql(names)}
    ${makeRoleSql(names.ownerRole)} ${makeRoleSql(names.rwRole)}
    GRANT ${quoteIdent(names.ownerRole)} TO CURRENT_USER;
    ${makeMigratorSql(names.ownerRole, login.migratorVerifier)}
    ${makeLoginSql(names, names.loginA, login)}`);
}

/** One of the alternating logins: made where it is missing, let in with this password, and of the data role. */
function makeLoginSql(
  names: DatabaseNames,
  login: string,
  { verifier, connectionLimit }: Pick<LoginSpec, 'verifier' | 'connectionLimit'>,
): string {
  const role = quoteIdent(login);
  return `${makeRoleSql(login)}
    ALTER ROLE ${role} LOGIN CONNECTION LIMIT ${connectionLimit} PASSWORD ${quoteLiteral(verifier)};
    GRANT ${quoteIdent(names.rwRole)} TO ${role};`;
}

/** Removes every role of the database, which must be gone already. Harmless when run again. */
export async function dropRoles(admin: Queryable, names: DatabaseNames): Promise<void> {
  const own = [names.loginA, names.loginB, names.rwRole, migratorOf(names.ownerRole), names.ownerRole];
  const readers = [...(await findReaders(admin, names)), readerNames(names.name).role];
  const roles = [...readers, ...own].map(quoteIdent).join(', ');
  await admin.query(`${lockSql(names)} DROP ROLE IF EXISTS ${roles};`);
}

/** Lets no login in any more and ends the sessions that are there, in this order: none slips in between. */
export async function closeLogins(admin: Queryable, names: DatabaseNames): Promise<void> {
  const logins = [names.loginA, names.loginB, ...(await findReaders(admin, names))];
  const close = logins.map((login) => closeLoginSql(login, 'NOLOGIN')).join(' ');
  await admin.query(`${lockSql(names)} ${close}`);
  await endSessions(admin, logins);
}

/** Logins of people that look into the database. */
async function findReaders(admin: Queryable, { name }: DatabaseNames): Promise<string[]> {
  const { rows } = await admin.query<{ login: string }>(
    'SELECT rolname AS login FROM pg_roles WHERE rolname LIKE $1 ORDER BY rolname',
    [readerNames(name).loginsLike],
  );
  return rows.map((row) => row.login);
}

/** Ends all sessions of these logins, and waits until they are gone. */
export async function endSessions(admin: Queryable, logins: readonly string[]): Promise<void> {
  await admin.query(
    'SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity WHERE usename = ANY ($1::text[])',
    [logins, TERMINATE_WAIT_MS],
  );
}

/** Milliseconds to wait for one session's end. A session reacts within milliseconds unless its disk hangs. */
export const TERMINATE_WAIT_MS = 5_000;

/** Lets the login in again. */
export async function openLogin(admin: Queryable, login: string): Promise<void> {
  await admin.query(`ALTER ROLE ${quoteIdent(login)} LOGIN`);
}

/** Makes one of the alternating logins, or gives it another password; it may then do what the data role may. */
export async function setLogin(
  admin: Queryable,
  names: DatabaseNames,
  login: string,
  spec: Pick<LoginSpec, 'verifier' | 'connectionLimit'>,
): Promise<void> {
  await admin.query(`${lockSql(names)}
    ${makeLoginSql(names, login, spec)}
    ${loginSettingsSql(names.name, login)}`);
}

/** Lets the login in no more, with no password either; its sessions go on. Harmless where there is none. */
export async function disableLogin(admin: Queryable, names: DatabaseNames, login: string): Promise<void> {
  await admin.query(`${lockSql(names)} ${closeLoginSql(login, 'NOLOGIN PASSWORD NULL')}`);
}

/** Nothing where there is no such login. */
function closeLoginSql(login: string, change: 'NOLOGIN' | 'NOLOGIN PASSWORD NULL'): string {
  return `DO $$ BEGIN IF to_regrole(${quoteLiteral(login)}) IS NOT NULL THEN
    ALTER ROLE ${quoteIdent(login)} ${change}; END IF; END $$;`;
}

/** Sessions of the login, in whatever database. */
export async function countSessions(admin: Queryable, login: string): Promise<number> {
  const { rows } = await admin.query<{ count: number }>(
    'SELECT count(*)::int AS count FROM pg_stat_activity WHERE usename = $1',
    [login],
  );
  return rows[0]?.count ?? 0;
}

/**
 * Limits of the application's logins, in PostgreSQL's notation. An interactive request that runs 30 s has
 * long lost its user; an idle transaction holds locks and stops vacuum; waiting 10 s for a lock means that
 * something else is wrong, and giving up frees the tenant's few connections.
 */
const LOGIN_SETTINGS = {
  statement_timeout: '30s',
  idle_in_transaction_session_timeout: '30s',
  lock_timeout: '10s',
};

/** The limits of one login in its database. */
export function loginSettingsSql(database: string, login: string): string {
  const target = `ALTER ROLE ${quoteIdent(login)} IN DATABASE ${quoteIdent(database)}`;
  return Object.entries(LOGIN_SETTINGS)
    .map(([name, value]) => `${target} SET ${name} = ${quoteLiteral(value)};`)
    .join('\n');
}
