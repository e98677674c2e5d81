import { FleetError, SQLSTATE, sqlState } from '../../platform/errors.ts';
import { withClient, type PgAddress } from '../../platform/pg.ts';
import type { DatabaseNames } from '../servers/database.ts';

/** What a login finds when it looks around, each answer being PostgreSQL's own. */
interface Findings {
  login: string;
  database: string;
  /** The marker is there, alone, and is this database's. */
  identified: boolean;
  /** Tables on which it lacks what the data role has. */
  lacking: string[];
  /** Roles that it has beside the data role. */
  others: string[];
  can_create: boolean;
  is_owner: boolean;
  search_path: string;
}

/** What a login has to be. */
export interface ExpectedLogin {
  names: DatabaseNames;
  login: string;
  marker: { tenantId: string; databaseId: string };
}

/**
 * Connects as the application will and looks: the right database by its marker, on its tables what the data role may,
 * no other role, no right to create anything, no way to become the owner.
 * @param address of the tenant's database, as the login
 * @throws FleetError `verification_failed`, naming everything that is not as it must be
 */
export async function checkLogin(
  address: PgAddress,
  expected: ExpectedLogin,
  applicationName: string,
): Promise<void> {
  const { names, marker } = expected;
  const { rows } = await withClient(address, { applicationName }, (client) =>
    client.query<Findings>(LOOK_AROUND, [marker.tenantId, marker.databaseId, names.ownerRole, names.rwRole]),
  );
  const problems = rows[0] === undefined ? ['no answer'] : problemsOf(rows[0], expected);
  if (problems.length > 0) throw verificationFailed(problems);
}

/** Refusals of a login in a database that is not its own: by rights, by pg_hba.conf, or because there is none. */
const REFUSALS = new Set<string | undefined>([
  SQLSTATE.insufficientPrivilege,
  SQLSTATE.invalidAuthorization,
  SQLSTATE.invalidCatalogName,
]);

/**
 * Makes sure that a login cannot enter this database of its server.
 * @throws FleetError `verification_failed` when it can
 */
export async function checkIsRefused(address: PgAddress, applicationName: string): Promise<void> {
  try {
    await withClient(address, { applicationName }, (client) => client.query('SELECT 1'));
  } catch (error) {
    if (REFUSALS.has(sqlState(error))) return;
    throw error;
  }
  throw verificationFailed([`the login may enter ${address.database}`]);
}

function verificationFailed(problems: readonly string[]): FleetError {
  return new FleetError({
    code: 'verification_failed',
    status: 500,
    message: `the database or its login is not as it must be: ${problems.join('; ')}`,
    fix: "compare the database's roles and privileges with docs/decisions/0007-roles-per-tenant.md, then retry the operation",
  });
}

const LOOK_AROUND = `
  SELECT current_user AS login, current_database() AS database,
         (SELECT count(*) = 1 AND bool_and(tenant_id = $1 AND database_id = $2) FROM fleet.identity) AS identified,
         ARRAY(SELECT DISTINCT relname::text FROM pg_class, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS needed
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
                  AND has_table_privilege($4, oid, needed) AND NOT has_table_privilege(oid, needed)) AS lacking,
         ARRAY(SELECT roleid::regrole::text FROM pg_auth_members
                WHERE member = current_user::regrole AND roleid <> to_regrole($4)) AS others,
         has_schema_privilege('public', 'CREATE') OR has_schema_privilege('fleet', 'CREATE')
           OR has_database_privilege(current_database(), 'CREATE')
           OR has_database_privilege(current_database(), 'TEMPORARY') AS can_create,
         pg_has_role($3, 'MEMBER') AS is_owner,
         current_setting('search_path') AS search_path`;

function problemsOf(found: Findings, { names, login }: ExpectedLogin): string[] {
  const checks: [boolean, string][] = [
    [found.login === login, `connected as ${found.login}`],
    [found.database === names.name, `connected to ${found.database}`],
    [found.identified, 'its marker is missing or names another tenant'],
    [found.lacking.length === 0, `the login lacks rights on ${found.lacking.join(', ')}`],
    [found.others.length === 0, `the login is also a member of ${found.others.join(', ')}`],
    [!found.can_create, 'the login may create objects'],
    [!found.is_owner, 'the login may act as the owner'],
    [found.search_path === 'public, pg_temp', `the search_path is ${found.search_path}`],
  ];
  return checks.filter(([holds]) => !holds).map(([, problem]) => problem);
}
