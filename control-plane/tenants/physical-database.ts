import { SQLSTATE, sqlState } from '../../platform/errors.ts';
import { quoteIdent, type Queryable } from '../../platform/pg.ts';
import type { DatabaseNames } from '../servers/database.ts';
import { openToMigratorSql } from '../servers/migrator.ts';
import { loginSettingsSql, TERMINATE_WAIT_MS } from './roles.ts';

/** The database itself on its server: made, closed and dropped as the server's admin. */

/**
 * Sessions beyond the application's that the database admits: the admin's own (a migration, a check, a
 * rotation's probe) must get in when the application has taken all of its own.
 */
const ADMIN_CONNECTIONS = 5;

/**
 * Copies the template and opens the copy to its own roles and the migrator only. It belongs to the admin: an
 * owner could change or drop it from the sessions of other databases. It is born closed: until PUBLIC has lost its
 * rights nobody can connect. A database that exists already (an earlier try) is brought to the same state.
 */
export async function createDatabase(
  admin: Queryable,
  names: DatabaseNames,
  options: { template: string; connectionLimit: number },
): Promise<void> {
  const database = quoteIdent(names.name);
  await withDatabaseLock(admin, names.name, async () => {
    try {
      await admin.query(
        `CREATE DATABASE ${database} TEMPLATE ${quoteIdent(options.template)}
           ALLOW_CONNECTIONS false
           CONNECTION LIMIT ${options.connectionLimit + ADMIN_CONNECTIONS}`,
      );
    } catch (error) {
      if (sqlState(error) !== SQLSTATE.duplicateDatabase) throw error;
    }
    await admin.query(`REVOKE ALL ON DATABASE ${database} FROM PUBLIC;
      GRANT CONNECT ON DATABASE ${database} TO ${quoteIdent(names.rwRole)};
      ${openToMigratorSql(names.name, names.ownerRole)}
      ALTER DATABASE ${database} SET search_path = public, pg_temp;
      ${loginSettingsSql(names.name, names.loginA)}
      ALTER DATABASE ${database} ALLOW_CONNECTIONS true;`);
  });
}

/** Lets nobody in any more and ends the sessions that are there. Harmless when the database is gone. */
export async function closeDatabase(admin: Queryable, name: string): Promise<void> {
  try {
    await admin.query(`ALTER DATABASE ${quoteIdent(name)} ALLOW_CONNECTIONS false`);
  } catch (error) {
    if (sqlState(error) !== SQLSTATE.invalidCatalogName) throw error;
  }
  // An autovacuum worker cannot be ended by us; DROP DATABASE sends it away by itself.
  await admin.query(
    `SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity
      WHERE datname = $1 AND backend_type = 'client backend'`,
    [name, TERMINATE_WAIT_MS],
  );
}

/** Harmless when the database is gone. */
export async function dropDatabase(admin: Queryable, name: string): Promise<void> {
  await withDatabaseLock(admin, name, () =>
    admin.query(`DROP DATABASE IF EXISTS ${quoteIdent(name)} WITH (FORCE)`),
  );
}

/**
 * CREATE and DROP DATABASE run outside of transactions, so the lock is the session's. A killed worker's
 * session keeps it until its last statement has ended: the successor then sees what came of it. After an
 * error the connection is destroyed by its owner, and the lock with it.
 */
async function withDatabaseLock(admin: Queryable, name: string, work: () => Promise<unknown>): Promise<void> {
  await admin.query('SELECT pg_advisory_lock(hashtextextended($1, 0))', [name]);
  await work();
  await admin.query('SELECT pg_advisory_unlock(hashtextextended($1, 0))', [name]);
}
