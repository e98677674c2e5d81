import type { PgAddress, PgClient } from '../../platform/pg.ts';
import { HALF_DONE_SQL, MIGRATION_LOCK } from './bookkeeping.ts';
import { SCHEMA_SQL } from './schema-sql.ts';
import { STAMP_SQL, toStamp, type SchemaStamp } from './stamp.ts';
import { describeSchema, type CatalogueRow, type Schema, type SchemaRoles } from './schema.ts';
import { withMigrationSession } from './session.ts';

/** A database as it stands between two migrations. */
export interface LiveSchema {
  schema: Schema;
  /** Names of the migrations that it has, in order. */
  applied: string[];
  /** Checksums that they were applied with; nothing of those that node-pg-migrate itself has applied. */
  checksums: ReadonlyMap<string, string>;
  /** PostgreSQL's major version: it decides on the words of the description. */
  serverMajor: number;
  /** Of just this schema; null where the server does not count what is written. */
  stamp: SchemaStamp | null;
}

/**
 * Reads schema and applied migrations together, in one round trip beside connecting. The migration lock is shared
 * meanwhile, so that nobody migrates in between; answers undefined where somebody does, or a migration stands
 * half done.
 * @param address of the server's migrator
 * @throws SQLSTATE 42P01 where the record of migrations is missing; errors of connecting as the driver gives them
 */
export async function readLiveSchema(
  address: PgAddress,
  request: { applicationName: string; roles: SchemaRoles; signal?: AbortSignal | undefined },
): Promise<LiveSchema | undefined> {
  const session = { ...request, ownerRole: request.roles.ownerRole };
  return withMigrationSession(address, session, async (client) => {
    const results = await runScript(client);
    const selects = results.filter(({ command }) => command === 'SELECT');
    const [lock, stamp, names, progress, records, , catalogue] = selects;
    const facts = lock?.rows[0];
    if (facts?.free !== true || (progress?.rows.length ?? 0) > 0) return undefined;
    const applied = (names?.rows ?? []).map(({ name }) => String(name));
    return {
      schema: describeSchema((catalogue?.rows ?? []) as unknown as CatalogueRow[], request.roles),
      applied,
      checksums: new Map((records?.rows ?? []).map((row) => [String(row.name), String(row.checksum)])),
      serverMajor: Number(facts.major),
      stamp: toStamp(stamp?.rows[0], applied.at(-1) ?? null),
    };
  });
}

interface ScriptResult {
  command: string;
  rows: Record<string, unknown>[];
}

/** The record of migrations is the owner's, the progress of one is the migrator's own. */
async function runScript(client: PgClient): Promise<ScriptResult[]> {
  const results: unknown = await client.query(`BEGIN READ ONLY;
    SELECT pg_try_advisory_xact_lock_shared(${MIGRATION_LOCK}) AS free,
           current_setting('server_version_num')::int / 10000 AS major;
    ${STAMP_SQL};
    SELECT name FROM public.pgmigrations ORDER BY id;
    SET LOCAL ROLE NONE;
    ${HALF_DONE_SQL};
    SELECT name, checksum FROM fleet.migrations;
    ${SCHEMA_SQL};
    COMMIT`);
  // The driver answers a script with an array, which its types do not say.
  return results as ScriptResult[];
}
