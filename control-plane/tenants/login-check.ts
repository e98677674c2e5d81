import { FleetError } from '../../platform/errors.ts';
import { withClient, type PgAddress } from '../../platform/pg.ts';
import type { DatabaseNames } from '../servers/database.ts';

/** What a login finds when it looks around, each answer being PostgreSQL's own. */
interface Findings {
  login: string;
  database: string;
  /** The marker is there, alone, and is this database's. */
  identified: boolean;
  /** Tables of the tenant that it may not read. */
  unreadable: string[];
  can_create: boolean;
  is_owner: boolean;
  search_path: string;
}

/**
 * Connects as the application will and looks: the right database by its marker, its tables readable, no right
 * to create anything, no way to become the owner.
 * @throws FleetError `verification_failed`, naming everything that is not as it must be
 */
export async function checkLogin(
  address: PgAddress,
  names: DatabaseNames,
  marker: { tenantId: string; databaseId: string },
  applicationName: string,
): Promise<void> {
  const { rows } = await withClient(address, { applicationName }, (client) =>
    client.query<Findings>(LOOK_AROUND, [marker.tenantId, marker.databaseId, names.ownerRole]),
  );
  const problems = rows[0] === undefined ? ['no answer'] : problemsOf(rows[0], names);
  if (problems.length === 0) return;
  throw new FleetError({
    code: 'verification_failed',
    status: 500,
    message: `the new database is not as it must be: ${problems.join('; ')}`,
    fix: "compare the database's roles and privileges with docs/decisions/0007-roles-per-tenant.md, then retry the operation",
  });
}

const LOOK_AROUND = `
  SELECT current_user AS login, current_database() AS database,
         (SELECT count(*) = 1 AND bool_and(tenant_id = $1 AND database_id = $2) FROM fleet.identity) AS identified,
         ARRAY(SELECT relname::text FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
                  AND NOT has_table_privilege(oid, 'SELECT')) AS unreadable,
         has_schema_privilege('public', 'CREATE') OR has_schema_privilege('fleet', 'CREATE')
           OR has_database_privilege(current_database(), 'CREATE')
           OR has_database_privilege(current_database(), 'TEMPORARY') AS can_create,
         pg_has_role($3, 'MEMBER') AS is_owner,
         current_setting('search_path') AS search_path`;

function problemsOf(found: Findings, names: DatabaseNames): string[] {
  const checks: [boolean, string][] = [
    [found.login === names.loginA, `connected as ${found.login}`],
    [found.database === names.name, `connected to ${found.database}`],
    [found.identified, 'its marker is missing or names another tenant'],
    [found.unreadable.length === 0, `the login cannot read ${found.unreadable.join(', ')}`],
    [!found.can_create, 'the login may create objects'],
    [!found.is_owner, 'the login may act as the owner'],
    [found.search_path === 'public, pg_temp', `the search_path is ${found.search_path}`],
  ];
  return checks.filter(([holds]) => !holds).map(([, problem]) => problem);
}
