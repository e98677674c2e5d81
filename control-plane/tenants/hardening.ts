import { quoteIdent, quoteLiteral } from '../../platform/pg.ts';
import type { DatabaseNames } from '../servers/database.ts';
import { grantRecordSql, revokeRecordSql } from '../servers/migrator.ts';
import { closeRoutinesSql, reopenRoutinesSql, TEMPLATE_OWNER } from '../releases/template.ts';

/**
 * What is done inside a new tenant database, as one message that PostgreSQL runs as one transaction: the
 * objects get their owner, the data role its rights on them and on all to come, PUBLIC loses what it has, and
 * the marker says whose database this is. Repeating it changes nothing.
 */
export function hardeningSql(names: DatabaseNames, marker: { tenantId: string; databaseId: string }): string {
  const [owner, rw] = [quoteIdent(names.ownerRole), quoteIdent(names.rwRole)];
  const defaults = `ALTER DEFAULT PRIVILEGES FOR ROLE ${owner}`;
  return `
    ${reassignSchemas(names.ownerRole)}
    REASSIGN OWNED BY ${quoteIdent(TEMPLATE_OWNER)} TO ${owner};
    ${reopenRoutinesSql(TEMPLATE_OWNER)}
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    ${closeRoutinesSql(names.ownerRole)}

    GRANT USAGE ON SCHEMA public TO ${rw};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${rw};
    GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO ${rw};
    GRANT EXECUTE ON ALL ROUTINES IN SCHEMA public TO ${rw};
    ${defaults} IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ${rw};
    ${defaults} IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO ${rw};
    ${defaults} IN SCHEMA public GRANT EXECUTE ON ROUTINES TO ${rw};
    ${protectMigrations(rw)}

    ${names.ownerRole === TEMPLATE_OWNER ? '' : revokeRecordSql(TEMPLATE_OWNER)}
    ${grantRecordSql(names.ownerRole)}
    GRANT USAGE ON SCHEMA fleet TO ${rw};
    GRANT SELECT ON fleet.identity TO ${rw};
    INSERT INTO fleet.identity (tenant_id, database_id)
      SELECT ${quoteLiteral(marker.tenantId)}, ${quoteLiteral(marker.databaseId)}
       WHERE NOT EXISTS (SELECT FROM fleet.identity);`;
}

/**
 * Schemas go first: a function's new owner must already have the right to create in the function's schema,
 * and REASSIGN OWNED takes the objects in an order of its own.
 */
function reassignSchemas(ownerRole: string): string {
  return `DO $$ DECLARE schema text; BEGIN
      FOR schema IN SELECT nspname FROM pg_namespace
                     WHERE nspowner = to_regrole(${quoteLiteral(TEMPLATE_OWNER)}) LOOP
        EXECUTE format('ALTER SCHEMA %I OWNER TO %I', schema, ${quoteLiteral(ownerRole)});
      END LOOP;
    END $$;`;
}

/** The record of applied migrations is read by the application at most, never written. */
function protectMigrations(rw: string): string {
  return `DO $$ BEGIN
      IF to_regclass('public.pgmigrations') IS NOT NULL THEN
        REVOKE ALL ON public.pgmigrations FROM ${rw};
        GRANT SELECT ON public.pgmigrations TO ${rw};
      END IF;
    END $$;`;
}
