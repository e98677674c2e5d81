import { sha256 } from '../../platform/crypto.ts';
import { sqlState, SQLSTATE } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import { quoteIdent, withClient, type PgPoolClient } from '../../platform/pg.ts';
import { ADVISORY_LOCKS } from '../registry/locks.ts';
import type { Registry } from '../registry/registry.ts';
import type { ServerAccess } from '../servers/access.ts';
import { grantRecordSql, makeMigratorSql, openToMigratorSql } from '../servers/migrator.ts';
import { applyMigrations } from './apply.ts';
import { createBookkeeping } from './bookkeeping.ts';
import { currentRelease, listMigrations, type CurrentRelease } from './store.ts';

export interface TemplateDeps {
  registry: Registry;
  servers: ServerAccess;
  logger: Logger;
}

/** A server's golden template: what each new tenant's database is a copy of. */
export interface Template {
  template: string;
  /** Name of the last migration in it; null when nothing has been published. */
  schemaVersion: string | null;
}

/** Role without login that owns the template's objects; REASSIGN OWNED gives a copy's to its tenant. */
export const TEMPLATE_OWNER = 'fleet_template_owner';

const PREFIX = 'fleet_template_';
const BUILD_PREFIX = 'fleet_template_build_';

/** Builds under way in this process: concurrent provisioning waits for one instead of queuing connections. */
const building = new WeakMap<ServerAccess, Map<string, Promise<void>>>();

/**
 * Makes sure that the server has the template of the current release, and names it. It has no sessions, takes
 * none, and is complete: it gets its name at the very end. A copy can still fail with 3D000 when a newer
 * release became current in between; asking again names the new one.
 */
export async function ensureTemplate(deps: TemplateDeps, serverId: string): Promise<Template> {
  const release = await currentRelease(deps.registry);
  const template = templateName(release);
  const known = await deps.servers.admin(serverId, (client) => databaseExists(client, template));
  if (!known) await buildOnce(deps, serverId, release);
  return { template, schemaVersion: release?.head ?? null };
}

/**
 * The release's template; `fleet_template_0` is the empty schema. The checksum is part of the name: another
 * fleet, or a registry that was made anew, may use the same server with other migrations.
 */
export function templateName(release: Pick<CurrentRelease, 'headOrdinal' | 'checksum'> | undefined): string {
  if (release === undefined) return `${PREFIX}0`;
  const content = sha256(`${TEMPLATE_FORMAT}\0${release.checksum}`);
  return `${PREFIX}${release.headOrdinal}_${content.slice(0, CHECKSUM_LENGTH)}`;
}

/** Raised when templates are made in another way than before: older ones are then stale. */
const TEMPLATE_FORMAT = 5;

/** 48 bits tell a server's few templates apart. */
const CHECKSUM_LENGTH = 12;

/** Drops the server's templates of releases other than the current one, and builds that were given up. */
export async function dropStaleTemplates(deps: TemplateDeps, serverId: string): Promise<string[]> {
  return deps.servers.admin(serverId, (client) =>
    underTemplateLock(client, async () => {
      // Asked under the lock: another process may just have built the template of a newer release.
      const current = templateName(await currentRelease(deps.registry));
      const { rows } = await client.query<{ name: string }>(
        `SELECT datname AS name FROM pg_database
          WHERE datname ~ ('^' || $1 || '(build_)?[0-9]+(_[0-9a-f]+)?$') AND datname <> $2 ORDER BY datname`,
        [PREFIX, current],
      );
      for (const { name } of rows) await dropDatabase(client, name);
      return rows.map(({ name }) => name);
    }),
  );
}

async function buildOnce(
  deps: TemplateDeps,
  serverId: string,
  release: CurrentRelease | undefined,
): Promise<void> {
  const builds = building.get(deps.servers) ?? new Map<string, Promise<void>>();
  building.set(deps.servers, builds);
  const key = `${serverId}/${templateName(release)}`;
  const running = builds.get(key) ?? build(deps, serverId, release);
  builds.set(key, running);
  try {
    await running;
  } finally {
    builds.delete(key);
  }
}

/**
 * Builds under a temporary name and renames at the end, so that a build killed anywhere leaves nothing that
 * looks finished; the next one starts over.
 */
async function build(
  deps: TemplateDeps,
  serverId: string,
  release: CurrentRelease | undefined,
): Promise<void> {
  const started = performance.now();
  const template = templateName(release);
  const temporary = template.replace(PREFIX, BUILD_PREFIX);
  const built = await deps.servers.admin(serverId, (client) =>
    underTemplateLock(client, async () => {
      if (await databaseExists(client, template)) return false;
      await dropDatabase(client, temporary);
      await deps.servers.makeMigrators(serverId, (verifier) => createOwner(client, verifier));
      await client.query(`CREATE DATABASE ${quoteIdent(temporary)} TEMPLATE template0`);
      await client.query(`REVOKE ALL ON DATABASE ${quoteIdent(temporary)} FROM PUBLIC`);
      await client.query(openToMigratorSql(temporary, TEMPLATE_OWNER));
      await fill(deps, serverId, temporary, release);
      await client.query(`ALTER DATABASE ${quoteIdent(temporary)} WITH ALLOW_CONNECTIONS false`);
      await client.query(`ALTER DATABASE ${quoteIdent(temporary)} RENAME TO ${quoteIdent(template)}`);
      return true;
    }),
  );
  if (!built) return;
  const durationMs = Math.round(performance.now() - started);
  deps.logger.info('template built', { serverId, template, durationMs });
  await dropStaleTemplates(deps, serverId).catch((error: unknown) => {
    deps.logger.warn('stale templates could not be dropped; the next build tries again', { serverId, error });
  });
}

/** All connections to the new database are closed when this returns: a template must have none. */
async function fill(
  deps: TemplateDeps,
  serverId: string,
  database: string,
  release: CurrentRelease | undefined,
): Promise<void> {
  const address = await deps.servers.address(serverId, database);
  const applicationName = `fleet:template:${release?.headOrdinal ?? 0}`;
  await withClient(address, { applicationName }, async (client) => {
    await client.query(
      `ALTER SCHEMA public OWNER TO ${quoteIdent(TEMPLATE_OWNER)};
       REVOKE ALL ON SCHEMA public FROM PUBLIC;
       ${closeRoutinesSql(TEMPLATE_OWNER)}`,
    );
    await createBookkeeping(client, TEMPLATE_OWNER);
    await client.query(grantRecordSql(TEMPLATE_OWNER));
  });
  if (release === undefined) return;
  const migrations = await listMigrations(deps.registry, release.headOrdinal);
  const place = { database, ownerRole: TEMPLATE_OWNER };
  await applyMigrations(await deps.servers.migrator(serverId, place), {
    ownerRole: TEMPLATE_OWNER,
    migrations,
    release: release.name,
    applicationName,
  });
}

/**
 * SQL that keeps what `owner` makes from now on to itself, where PostgreSQL lets everybody call new routines. What
 * migrations grant to PUBLIC themselves stays: a database that is born from a template and one that was migrated
 * step by step have the same rights.
 */
export function closeRoutinesSql(owner: string): string {
  return `ALTER DEFAULT PRIVILEGES FOR ROLE ${quoteIdent(owner)} REVOKE EXECUTE ON ROUTINES FROM PUBLIC;`;
}

/** The inverse, for a copy whose objects have gone to another owner. */
export function reopenRoutinesSql(owner: string): string {
  return `ALTER DEFAULT PRIVILEGES FOR ROLE ${quoteIdent(owner)} GRANT EXECUTE ON ROUTINES TO PUBLIC;`;
}

/**
 * `duplicate_object`, and `unique_violation`, which two sessions get that create one role at the same instant
 * (roles belong to the whole server, the lock to one database).
 */
const ALREADY_THERE = new Set<string>([SQLSTATE.duplicateObject, SQLSTATE.uniqueViolation]);

async function createOwner(client: PgPoolClient, verifier: string): Promise<void> {
  const owner = quoteIdent(TEMPLATE_OWNER);
  const { rows } = await client.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [TEMPLATE_OWNER]);
  if (rows.length === 0) {
    await client.query(`CREATE ROLE ${owner} NOLOGIN`).catch((error: unknown) => {
      if (!ALREADY_THERE.has(sqlState(error) ?? '')) throw error;
    });
  }
  await client.query(`GRANT ${owner} TO CURRENT_USER; ${makeMigratorSql(TEMPLATE_OWNER, verifier)}`);
}

async function databaseExists(client: PgPoolClient, name: string): Promise<boolean> {
  const { rows } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [name]);
  return rows.length > 0;
}

/** FORCE ends the sessions of a builder that died. */
async function dropDatabase(client: PgPoolClient, name: string): Promise<void> {
  await client.query(`DROP DATABASE IF EXISTS ${quoteIdent(name)} WITH (FORCE)`);
}

async function underTemplateLock<T>(client: PgPoolClient, work: () => Promise<T>): Promise<T> {
  await client.query('SELECT pg_advisory_lock($1)', [ADVISORY_LOCKS.template]);
  // After an error the connection is destroyed by its owner, and the lock goes with it.
  const result = await work();
  await client.query('SELECT pg_advisory_unlock($1)', [ADVISORY_LOCKS.template]);
  return result;
}
