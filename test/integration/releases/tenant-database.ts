import { randomBytes, randomUUID } from 'node:crypto';
import type { RenderedMigration } from '../../../contract/release.ts';
import { migrationChecksum, type Migration } from '../../../control-plane/releases/release.ts';
import { parseStatements } from '../../../control-plane/releases/sql.ts';
import type { ServerAccess } from '../../../control-plane/servers/access.ts';
import { createBookkeeping } from '../../../control-plane/releases/bookkeeping.ts';
import {
  grantRecordSql,
  makeMigratorSql,
  migratorOf,
  openToMigratorSql,
} from '../../../control-plane/servers/migrator.ts';
import { randomPassword, scramVerifier } from '../../../platform/crypto.ts';
import {
  createPool,
  quoteIdent,
  quoteLiteral,
  withClient,
  type PgAddress,
  type PgClient,
} from '../../../platform/pg.ts';
import { clusters } from '../../support/clusters.ts';

/** The admin without superuser rights and the migrators of a registered server, and databases made by it. */
export interface TestServer {
  admin: PgAddress;
  /** The migrator's way to a database of this owner. */
  migrator: (place: { database: string; ownerRole: string }) => PgAddress;
  migratorVerifier: string;
  /** A database like a tenant's: its own owner role without login, which owns schema public. */
  makeDatabase(): Promise<TenantDatabase>;
  drop(): Promise<void>;
}

export interface TenantDatabase {
  /** As the migrator. */
  address: PgAddress;
  admin: PgAddress;
  ownerRole: string;
  superuser: PgAddress;
}

export async function makeTestServer({ superuser } = clusters().eu): Promise<TestServer> {
  const user = `admin_${randomBytes(4).toString('hex')}`;
  const password = randomPassword();
  const owners: string[] = [];
  await run(
    superuser,
    `CREATE ROLE ${user} LOGIN CREATEDB CREATEROLE PASSWORD ${quoteLiteral(password)};
     GRANT pg_signal_backend, pg_monitor TO ${user};
     GRANT CONNECT ON DATABASE postgres TO ${user}`,
  );
  const admin: PgAddress = { ...superuser, user, password };
  const migratorPassword = randomPassword();
  const migratorVerifier = scramVerifier(migratorPassword);
  const migrator: TestServer['migrator'] = ({ database, ownerRole }) => ({
    ...{ ...superuser, database, user: migratorOf(ownerRole), password: migratorPassword },
  });
  return {
    admin,
    migrator,
    migratorVerifier,
    makeDatabase: async () => {
      const database = `t_${randomUUID().replaceAll('-', '')}`;
      const ownerRole = `${database}_owner`;
      owners.push(ownerRole);
      await withClient(admin, { applicationName: 'test' }, async (client) => {
        await client.query(`CREATE ROLE ${ownerRole} NOLOGIN`);
        await client.query(
          `GRANT ${ownerRole} TO CURRENT_USER; ${makeMigratorSql(ownerRole, migratorVerifier)}`,
        );
        await client.query(`CREATE DATABASE ${database} TEMPLATE template0`);
        await client.query(openToMigratorSql(database, ownerRole));
      });
      const made = { admin: { ...admin, database }, superuser: { ...superuser, database } };
      await run(made.superuser, `ALTER SCHEMA public OWNER TO ${ownerRole}`);
      await withClient(made.admin, { applicationName: 'test' }, async (client) => {
        await createBookkeeping(client, ownerRole);
        await client.query(grantRecordSql(ownerRole));
      });
      return { ...made, address: migrator({ database, ownerRole }), ownerRole };
    },
    drop: async () => {
      await withClient(superuser, { applicationName: 'test' }, async (client) => {
        const { rows } = await client.query<{ name: string }>(
          'SELECT datname AS name FROM pg_database WHERE pg_get_userbyid(datdba) = ANY ($1)',
          [[user, ...owners]],
        );
        for (const { name } of rows) await client.query(`DROP DATABASE ${quoteIdent(name)} WITH (FORCE)`);
        for (const role of owners.flatMap((owner) => [migratorOf(owner), owner])) {
          await client.query(`DROP ROLE ${quoteIdent(role)}`);
        }
        await client.query(`DROP OWNED BY ${user}`);
        await client.query(`DROP ROLE ${user}`);
      });
    },
  };
}

/** The way to one server, as servers/access.ts gives it. */
export function accessTo({ admin, migrator, migratorVerifier }: TestServer): ServerAccess {
  const pool = createPool({ ...admin, max: 8 }, () => undefined);
  return {
    admin: async (_serverId, work) => {
      const client = await pool.connect();
      let failed = true;
      try {
        const result = await work(client);
        failed = false;
        return result;
      } finally {
        client.release(failed);
      }
    },
    address: (_serverId, database) => Promise.resolve({ ...admin, database }),
    migrator: (_serverId, place) => Promise.resolve(migrator(place)),
    makeMigrators: (_serverId, make) => make(migratorVerifier),
    close: () => pool.end(),
  };
}

export async function run(address: PgAddress, sql: string): Promise<void> {
  await withClient(address, { applicationName: 'test' }, (client) => client.query(sql));
}

export async function read<R extends Record<string, unknown>>(
  address: PgAddress,
  sql: string,
  values: unknown[] = [],
): Promise<R[]> {
  return withClient(address, { applicationName: 'test' }, async (client: PgClient) => {
    const { rows } = await client.query<R>(sql, values);
    return rows;
  });
}

type Draft = Partial<RenderedMigration> & { upSql: string };

/** Rendered migrations `0001_m`, `0002_m`, … from their SQL. */
export function rendered(...drafts: (Draft | string)[]): RenderedMigration[] {
  return drafts.map((draft, index) => {
    const name = `${String(index + 1).padStart(4, '0')}_m`;
    return {
      name,
      file: `${name}.sql`,
      downSql: null,
      phase: 'expand',
      transactional: true,
      lockTimeoutMs: null,
      statementTimeoutMs: null,
      ...(typeof draft === 'string' ? { upSql: draft } : draft),
    };
  });
}

/** The same as a published list. */
export async function published(...drafts: (Draft | string)[]): Promise<Migration[]> {
  return toMigrations(rendered(...drafts));
}

export async function toMigrations(list: RenderedMigration[]): Promise<Migration[]> {
  return Promise.all(
    list.map(async (migration, index) => ({
      name: migration.name,
      ordinal: index + 1,
      checksum: migrationChecksum(migration.upSql, migration.downSql),
      upSql: migration.upSql,
      downSql: migration.downSql,
      phase: migration.phase,
      transactional: migration.transactional,
      lockTimeoutMs: migration.lockTimeoutMs,
      statementTimeoutMs: migration.statementTimeoutMs,
      backfill: migration.backfill,
      statements: migration.transactional
        ? null
        : (await parseStatements(migration.upSql)).map(({ text }) => text),
    })),
  );
}
