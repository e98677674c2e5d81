import { quoteIdent, withClient, type PgPoolClient } from '../../platform/pg.ts';
import { ADVISORY_LOCKS } from '../registry/locks.ts';
import { applyMigrations } from '../releases/apply.ts';
import { createBookkeeping } from '../releases/bookkeeping.ts';
import type { Migration } from '../releases/release.ts';
import { readLiveSchema } from '../releases/schema-live.ts';
import type { Schema } from '../releases/schema.ts';
import { TEMPLATE_OWNER } from '../releases/template.ts';
import type { ServerAccess } from '../servers/access.ts';
import { grantRecordSql, makeMigratorSql, makeRoleSql, openToMigratorSql } from '../servers/migrator.ts';
import { hardeningSql } from '../tenants/hardening.ts';

/**
 * A database that lives for a second: what migrations make of an empty one. There is one of them on a server at a
 * time and it always has this name, so that what a killed worker has left is found by whoever comes next.
 */
export const SCRATCH_DATABASE = 'fleet_reference_scratch';
/** Stands in for the data role of a tenant's database. Without login, and it stays. */
const SCRATCH_RW = 'fleet_reference_rw';
const APPLICATION = 'fleet:reference:0';
const NOBODY = '00000000-0000-0000-0000-000000000000';

/**
 * Applies `migrations` to an empty database that is hardened as a tenant's is, and answers its schema. The database
 * is gone when this returns.
 */
export async function schemaOf(
  servers: ServerAccess,
  serverId: string,
  migrations: Migration[],
): Promise<Schema> {
  return servers.admin(serverId, (admin) =>
    underTemplateLock(admin, async () => {
      await servers.makeMigrators(serverId, (verifier) => makeScratchOwner(admin, verifier));
      await makeScratch(admin);
      try {
        await harden(servers, serverId);
        return await migrate(servers, serverId, migrations);
      } finally {
        await dropScratch(admin);
      }
    }),
  );
}

/** Drops what a killed worker has left; does nothing while somebody is at work with it. */
export async function dropLeftover(servers: ServerAccess, serverId: string): Promise<void> {
  await servers.admin(serverId, async (admin) => {
    const { rows } = await admin.query<{ free: boolean }>(
      'SELECT pg_try_advisory_lock($1) AS free FROM pg_database WHERE datname = $2',
      [ADVISORY_LOCKS.template, SCRATCH_DATABASE],
    );
    if (rows[0]?.free !== true) return;
    await dropScratch(admin);
    await admin.query('SELECT pg_advisory_unlock($1)', [ADVISORY_LOCKS.template]);
  });
}

async function makeScratchOwner(admin: PgPoolClient, verifier: string): Promise<void> {
  await admin.query(`${makeRoleSql(TEMPLATE_OWNER)} ${makeRoleSql(SCRATCH_RW)}
    GRANT ${quoteIdent(TEMPLATE_OWNER)} TO CURRENT_USER; ${makeMigratorSql(TEMPLATE_OWNER, verifier)}`);
}

async function makeScratch(admin: PgPoolClient): Promise<void> {
  await dropScratch(admin);
  await admin.query(`CREATE DATABASE ${quoteIdent(SCRATCH_DATABASE)} TEMPLATE template0`);
  await admin.query(`REVOKE ALL ON DATABASE ${quoteIdent(SCRATCH_DATABASE)} FROM PUBLIC;
    ${openToMigratorSql(SCRATCH_DATABASE, TEMPLATE_OWNER)}`);
}

async function dropScratch(admin: PgPoolClient): Promise<void> {
  await admin.query(`DROP DATABASE IF EXISTS ${quoteIdent(SCRATCH_DATABASE)} WITH (FORCE)`);
}

/** As a tenant's database: with the same rights for the data role on all that comes. */
async function harden(servers: ServerAccess, serverId: string): Promise<void> {
  const names = {
    ...{ name: SCRATCH_DATABASE, ownerRole: TEMPLATE_OWNER, rwRole: SCRATCH_RW },
    ...{ loginA: SCRATCH_RW, loginB: SCRATCH_RW },
  };
  const address = await servers.address(serverId, SCRATCH_DATABASE);
  await withClient(address, { applicationName: APPLICATION }, async (client) => {
    await client.query(`ALTER SCHEMA public OWNER TO ${quoteIdent(TEMPLATE_OWNER)};
      REVOKE ALL ON SCHEMA public FROM PUBLIC`);
    await createBookkeeping(client, TEMPLATE_OWNER);
    await client.query(grantRecordSql(TEMPLATE_OWNER));
    await client.query(hardeningSql(names, { tenantId: NOBODY, databaseId: NOBODY }));
  });
}

async function migrate(servers: ServerAccess, serverId: string, migrations: Migration[]): Promise<Schema> {
  const place = { database: SCRATCH_DATABASE, ownerRole: TEMPLATE_OWNER };
  const address = await servers.migrator(serverId, place);
  const session = { applicationName: APPLICATION };
  await applyMigrations(address, {
    ...session,
    ownerRole: TEMPLATE_OWNER,
    migrations,
    release: 'reference',
  });
  const roles = { ownerRole: TEMPLATE_OWNER, rwRole: SCRATCH_RW, logins: [] };
  const live = await readLiveSchema(address, { ...session, roles });
  if (live === undefined) throw new Error(`somebody else migrates ${SCRATCH_DATABASE}`);
  return live.schema;
}

/** The lock of templates, for both make roles that belong to the whole server. After an error it ends with its connection. */
async function underTemplateLock<T>(admin: PgPoolClient, work: () => Promise<T>): Promise<T> {
  await admin.query('SELECT pg_advisory_lock($1)', [ADVISORY_LOCKS.template]);
  const result = await work();
  await admin.query('SELECT pg_advisory_unlock($1)', [ADVISORY_LOCKS.template]);
  return result;
}
