import type { Tenant } from '../../../contract/tenant.ts';
import { createServerAccess, type ServerAccess } from '../../../control-plane/servers/access.ts';
import { databaseNames } from '../../../control-plane/servers/database.ts';
import { withClient } from '../../../platform/pg.ts';
import { quietLogger } from '../../support/registry.ts';
import type { World } from '../tenants/world.ts';

/** The ways to a tenant's server, as a process of its own has them; each opens connections that were not there. */
export interface Ways {
  servers: ServerAccess;
  serverId: string;
  /** A connection of the pool, and one to a database. */
  admin(): Promise<void>;
  /** As the tenant's migrator, acting as the owner. */
  migrator(of?: Tenant): Promise<void>;
  close(): Promise<void>;
}

export async function openFresh(world: World, tenant: Tenant): Promise<Ways> {
  const servers = createServerAccess({ ...world.deps, logger: quietLogger });
  const database = async (of: Tenant) => {
    const { rows } = await world.registry.query<{ id: string; server_id: string }>(
      "SELECT id, server_id FROM databases WHERE tenant_id = $1 AND state <> 'dropped'",
      [of.id],
    );
    const [found] = rows;
    if (found === undefined) throw new Error(`${of.slug} has no database`);
    return found;
  };
  const { server_id: serverId } = await database(tenant);
  const session = { applicationName: 'test' };
  return {
    servers,
    serverId,
    admin: async () => {
      await servers.admin(serverId, (client) => client.query('SELECT 1'));
      await withClient(await servers.address(serverId, 'postgres'), session, (client) =>
        client.query('SELECT 1'),
      );
    },
    migrator: async (of = tenant) => {
      const { name, ownerRole } = databaseNames((await database(of)).id);
      const address = await servers.migrator(serverId, { database: name, ownerRole });
      await withClient(address, { ...session, settings: { role: ownerRole } }, (client) =>
        client.query('SELECT 1'),
      );
    },
    close: () => servers.close(),
  };
}
