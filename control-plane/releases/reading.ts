import { FleetError } from '../../platform/errors.ts';
import { quoteIdent, type PgClient } from '../../platform/pg.ts';
import { MIGRATION_LOCK } from './bookkeeping.ts';

/**
 * Lets `role` read all that `ownerRole` owns in the database: tables, views, and how far sequences are. No routine:
 * one that runs with its owner's rights could write. What is there already is not granted again.
 * @throws FleetError 409 `migration_locked`: a GRANT and a migration of the same table would fail each other
 */
export async function grantReading(client: PgClient, ownerRole: string, role: string): Promise<void> {
  const { rows } = await client.query<{ grant: string }>(LACKING_SQL, [ownerRole, role]);
  if (rows.length === 0) return;
  await client.query('BEGIN');
  const lock = await client.query<{ locked: boolean }>(
    `SELECT pg_try_advisory_xact_lock(${MIGRATION_LOCK}) AS locked`,
  );
  if (lock.rows[0]?.locked !== true) throw migrationLocked();
  for (const { grant } of rows) await client.query(`${grant} TO ${quoteIdent(role)}`);
  await client.query('COMMIT');
}

const LACKING_SQL = `
  WITH owned AS (
    SELECT c.oid, c.relkind, n.oid AS space, n.nspname, c.relname
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relowner = to_regrole($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
       AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_')
  SELECT DISTINCT format('GRANT USAGE ON SCHEMA %I', nspname) AS grant FROM owned
   WHERE NOT has_schema_privilege($2::name, space, 'USAGE')
  UNION ALL
  SELECT format('GRANT SELECT ON %s %I.%I', CASE WHEN relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, nspname, relname)
    FROM owned
   WHERE CASE WHEN relkind = 'S' THEN NOT has_sequence_privilege($2::name, oid, 'SELECT')
              ELSE NOT has_table_privilege($2::name, oid, 'SELECT') END`;

function migrationLocked(): FleetError {
  return new FleetError({
    code: 'migration_locked',
    status: 409,
    message: 'the database is being migrated',
    retryable: true,
    fix: 'wait for the migration to end',
  });
}
