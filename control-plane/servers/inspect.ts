import { FleetError, isUnreachable, sqlState, SQLSTATE } from '../../platform/errors.ts';
import { withClient, type PgAddress, type PgClient } from '../../platform/pg.ts';

/** What a server says of itself and of the user we come as. */
export interface ServerFacts {
  /** `server_version_num`. */
  version: number;
  /** `max_connections`. */
  maxConnections: number;
  superuser: boolean;
  mayCreateDatabases: boolean;
  mayCreateRoles: boolean;
  /** Id of the fleet's server that its fleet_admin was made for; null when there is none. */
  managedBy: string | null;
}

/** Role that the fleet administers a server as. Not a superuser. */
export const FLEET_ADMIN = 'fleet_admin';
/** What the role's comment begins with; the server's id follows. */
export const ADMIN_MARK = 'flotilla server ';
/** The oldest PostgreSQL that keeps PUBLIC from creating objects in schema public. */
const MIN_VERSION = 150_000;

/** @throws FleetError `server_unreachable` | `server_login_refused` | `server_database_missing` | `server_tls_failed` */
export async function inspectServer(address: PgAddress): Promise<ServerFacts> {
  return connected(address, async (client) => {
    const { rows } = await client.query<ServerFacts>(
      `SELECT current_setting('server_version_num')::int AS version,
              current_setting('max_connections')::int AS "maxConnections", r.rolsuper AS superuser,
              r.rolsuper OR r.rolcreatedb AS "mayCreateDatabases",
              r.rolsuper OR r.rolcreaterole AS "mayCreateRoles",
              (SELECT substr(shobj_description(a.oid, 'pg_authid'), length($2) + 1)
                 FROM pg_roles a
                WHERE a.rolname = $1 AND starts_with(shobj_description(a.oid, 'pg_authid'), $2)) AS "managedBy"
         FROM pg_roles r WHERE r.rolname = current_user`,
      [FLEET_ADMIN, ADMIN_MARK],
    );
    const facts = rows[0];
    if (facts === undefined) throw new Error('the current user has no role');
    return facts;
  });
}

/** @throws FleetError `server_too_old` | `server_admin_too_weak` */
export function assertUsable(facts: ServerFacts, user: string): void {
  if (facts.version < MIN_VERSION) {
    throw new FleetError({
      code: 'server_too_old',
      status: 422,
      message: `the server runs PostgreSQL ${Math.floor(facts.version / 10_000)}; 15 is the oldest that is supported`,
      fix: 'upgrade it, or register another server',
    });
  }
  if (!facts.mayCreateDatabases || !facts.mayCreateRoles) {
    const lacks = [facts.mayCreateDatabases ? '' : 'CREATEDB', facts.mayCreateRoles ? '' : 'CREATEROLE'];
    throw new FleetError({
      code: 'server_admin_too_weak',
      status: 422,
      message: `user ${user} may not create databases and roles on the server`,
      fix: `as a superuser there: ALTER ROLE ${user} ${lacks.join(' ').trim()}`,
    });
  }
}

/** Connects and works; what goes wrong with the connection is told in words, with where and as whom. */
export async function connected<T>(address: PgAddress, work: (client: PgClient) => Promise<T>): Promise<T> {
  const session = {
    applicationName: 'fleet-register',
    settings: { search_path: 'pg_catalog', statement_timeout: '30s', lock_timeout: '10s' },
  };
  try {
    return await withClient(address, session, work);
  } catch (error) {
    throw connectionError(address, error) ?? error;
  }
}

/** Code of the error for a server that no connection leads to. */
export const SERVER_UNREACHABLE = 'server_unreachable';

/** Node's codes for a certificate that does not hold. */
const TLS_CODES = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/;

function connectionError(address: PgAddress, cause: unknown): FleetError | undefined {
  const place = `${address.host}:${address.port}`;
  const code = errorCode(cause);
  const state = sqlState(cause);
  if (state === SQLSTATE.invalidPassword || state === SQLSTATE.invalidAuthorization) {
    return new FleetError({
      code: 'server_login_refused',
      status: 422,
      message: `${place} refused user ${address.user} (SQLSTATE ${state})`,
      fix: "check user and password of the URL, and the server's pg_hba.conf",
      cause,
    });
  }
  if (state === SQLSTATE.invalidCatalogName) {
    return new FleetError({
      code: 'server_database_missing',
      status: 422,
      message: `${place} has no database ${address.database}`,
      fix: 'name an existing one in the URL, usually /postgres',
      cause,
    });
  }
  if (code !== undefined && TLS_CODES.test(code)) {
    return new FleetError({
      code: 'server_tls_failed',
      status: 422,
      message: `the certificate of ${place} was not accepted (${code})`,
      fix: 'use a host name that the certificate holds, or sslmode=require',
      cause,
    });
  }
  const nameUnknown = code === 'ENOTFOUND' || code === 'EAI_AGAIN';
  if (!nameUnknown && !isUnreachable(cause)) return undefined;
  return new FleetError({
    code: SERVER_UNREACHABLE,
    status: 422,
    message: `${place} cannot be reached${code === undefined ? '' : ` (${code})`}`,
    fix: 'check host and port, that the server runs, and that this machine may connect to it',
    cause,
  });
}

function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
