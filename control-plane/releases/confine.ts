import { randomBytes } from 'node:crypto';
import { quoteIdent } from '../../platform/pg.ts';

/**
 * The session belongs to the server's admin, so SQL under SET ROLE could RESET ROLE and act as the admin.
 * Inside a SECURITY DEFINER function PostgreSQL itself refuses to change the role, by whatever statement,
 * function or dynamic SQL. It is made in the transaction that calls it: one that stayed could be altered.
 */
const RUNNER = 'public.fleet_run_migration';

/**
 * SQL that runs `sql` as the owner with no way back to the admin; part of the caller's transaction, which it
 * leaves as the admin with only pg_catalog on the search path. Deferred checks are settled within: at
 * COMMIT their triggers would run as the admin. `statement_timeout` bounds all of `sql` together.
 */
export function confinedSql(ownerRole: string, sql: string): string {
  // A tag that nobody can know beforehand holds in any client encoding, unlike an escaped literal.
  const tag = `$q${randomBytes(TAG_BYTES).toString('hex')}$`;
  return `SET LOCAL ROLE ${quoteIdent(ownerRole)};
CREATE OR REPLACE FUNCTION ${RUNNER}(script text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
  AS 'BEGIN EXECUTE script; END';
RESET ROLE;
SELECT ${RUNNER}(${tag}${sql}
;SET CONSTRAINTS ALL IMMEDIATE${tag}::text);
SET LOCAL search_path TO pg_catalog;
DROP FUNCTION IF EXISTS ${RUNNER}(text);
`;
}

/** 128 bits: not to be guessed. */
const TAG_BYTES = 16;
