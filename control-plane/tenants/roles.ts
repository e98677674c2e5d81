import { quoteIdent, quoteLiteral, type Queryable } from '../../platform/pg.ts';
import type { DatabaseNames } from '../servers/database.ts';
import { makeMigratorSql, migratorOf } from '../servers/migrator.ts';

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
function lockSql(names: Pick<DatabaseNames, 'name'>): string {
  return `SELECT pg_advisory_xact_lock(hashtextextended(${quoteLiteral(names.name)}, 0));`;
}

/** Makes owner, data role, migrator and login `a`, or brings those that exist to the same state. */
export async function createRoles(admin: Queryable, names: DatabaseNames, login: LoginSpec): Promise<void> {
  const [owner, rw, a] = [names.ownerRole, names.rwRole, names.loginA].map(quoteIdent);
  const createMissing = [names.ownerRole, names.rwRole, names.loginA]
    .map(
      (role) => `IF to_regrole(${quoteLiteral(role)}) IS NULL THEN CREATE ROLE ${quoteIdent(role)}; END IF;`,
    )
    .join('\n');
  await admin.query(`${lockSql(names)}
    DO $$ BEGIN ${createMissing} END $$;
    GRANT ${owner} TO CURRENT_USER;
    ${makeMigratorSql(names.ownerRole, login.migratorVerifier)}
    ALTER ROLE ${a} LOGIN CONNECTION LIMIT ${login.connectionLimit} PASSWORD ${quoteLiteral(login.verifier)};
    GRANT ${rw} TO ${a};`);
}

/** Removes every role of the database, which must be gone already. Harmless when run again. */
export async function dropRoles(admin: Queryable, names: DatabaseNames): Promise<void> {
  const roles = [names.loginA, names.loginB, names.rwRole, migratorOf(names.ownerRole), names.ownerRole]
    .map(quoteIdent)
    .join(', ');
  await admin.query(`${lockSql(names)} DROP ROLE IF EXISTS ${roles};`);
}

/** Lets no login in any more and ends the sessions that are there, in this order: none slips in between. */
export async function closeLogins(admin: Queryable, names: DatabaseNames): Promise<void> {
  const logins = [names.loginA, names.loginB];
  const alter = logins
    .map(
      (login) => `IF to_regrole(${quoteLiteral(login)}) IS NOT NULL THEN
                    ALTER ROLE ${quoteIdent(login)} NOLOGIN; END IF;`,
    )
    .join('\n');
  await admin.query(`${lockSql(names)} DO $$ BEGIN ${alter} END $$;`);
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
