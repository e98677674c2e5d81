import { scramVerifier } from '../../../../platform/crypto.ts';
import { FleetError } from '../../../../platform/errors.ts';
import { parseAddress, quoteIdent, quoteLiteral, type PgAddress } from '../../../../platform/pg.ts';
import { connected } from '../../inspect.ts';
import { makeRoleSql } from '../../migrator.ts';
import { MASTER_DATABASE, type Instance } from './instance.ts';
import type { Rds } from './rds.ts';

interface Master {
  user: string;
  password: string;
}

/** How the way to servers on RDS is protected: with RDS's authority, or in plain to what stands in for it here. */
export function tlsOf({ standIns }: Pick<Rds, 'standIns'>): PgAddress['tls'] {
  return Object.keys(standIns).length === 0 ? 'verify-full' : 'disable';
}

/**
 * How an instance is reached as its master. With stand-ins (development on an emulated AWS, whose instances are
 * names without a server) the PostgreSQL that is mapped; given as a URL with a superuser, it gets the master from us,
 * as RDS would have made it.
 * @throws FleetError 409 `instance_not_mapped`
 */
export async function reach(
  { standIns }: Pick<Rds, 'standIns'>,
  instance: Pick<Instance, 'identifier' | 'host' | 'port'>,
  master: Master,
): Promise<PgAddress> {
  const { identifier, host = identifier, port } = instance;
  const address = { host, port, database: MASTER_DATABASE, tls: tlsOf({ standIns }), ...master };
  if (Object.keys(standIns).length === 0) return address;
  const standIn = standIns[identifier] ?? standIns[host];
  if (standIn === undefined) throw notMapped(identifier);
  const mapped = parseAddress(standIn.includes('://') ? standIn : `postgres://${standIn}/${MASTER_DATABASE}`);
  if (mapped.user !== '') await makeMaster(mapped, master);
  return { ...address, host: mapped.host, port: mapped.port };
}

/** What RDS makes with an instance: a login that is no superuser, and owns what stands there. */
async function makeMaster(superuser: PgAddress, { user, password }: Master): Promise<void> {
  const role = quoteIdent(user);
  await connected(superuser, (client) =>
    client.query(`${makeRoleSql(user)}
      ALTER ROLE ${role} LOGIN CREATEDB CREATEROLE PASSWORD ${quoteLiteral(scramVerifier(password))};
      GRANT pg_signal_backend, pg_monitor TO ${role} WITH ADMIN OPTION;
      ALTER DATABASE postgres OWNER TO ${role}; ALTER DATABASE template1 OWNER TO ${role};`),
  );
}

function notMapped(identifier: string): FleetError {
  return new FleetError({
    code: 'instance_not_mapped',
    status: 409,
    message: `instance ${identifier} is emulated: there is no PostgreSQL behind it`,
    fix: `add it to FLEET_RDS_ENDPOINT_MAP, as in {"${identifier}":"127.0.0.1:5432"}, and restart the control plane`,
  });
}
