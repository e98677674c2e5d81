import type { Registry } from '../../control-plane/registry/registry.ts';
import { migratorOf } from '../../control-plane/servers/migrator.ts';
import { withClient, type PgAddress } from '../../platform/pg.ts';
import { clusters } from './clusters.ts';

const REGIONS = ['eu', 'us'] as const;

/**
 * Everything tenant-shaped on the regions' servers: databases, roles, slots, advisory locks and sessions of
 * migrations, as sorted lines. Templates are caches and not counted.
 */
export async function serverInventory(): Promise<string[]> {
  const found = await Promise.all(REGIONS.map((region) => inventoryOf(region, clusters()[region].superuser)));
  return found.flat().sort();
}

async function inventoryOf(region: string, address: PgAddress): Promise<string[]> {
  const { rows } = await withClient(address, { applicationName: 'test' }, (client) =>
    client.query<{ item: string }>(
      `SELECT 'database ' || datname AS item FROM pg_database WHERE datname LIKE 't\\_%'
       UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname LIKE 't\\_%'
       UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots
       UNION ALL SELECT 'session ' || application_name FROM pg_stat_activity
         WHERE datname LIKE 't\\_%' AND (application_name LIKE 'fleet:%' OR state LIKE 'idle in transaction%')
       UNION ALL SELECT 'lock ' || objid FROM pg_locks WHERE locktype = 'advisory'`,
    ),
  );
  return rows.map((row) => `${region} ${row.item}`);
}

/** What the registry believes to be on the servers: the databases and roles of its live tenants. */
export async function expectedInventory(registry: Registry): Promise<string[]> {
  const { rows } = await registry.query<{
    region: string;
    name: string;
    owner_role: string;
    rw_role: string;
    login_a: string;
  }>(
    `SELECT s.region, d.name, d.owner_role, d.rw_role, d.login_a
       FROM databases d JOIN servers s ON s.id = d.server_id WHERE d.state <> 'dropped'`,
  );
  return rows
    .flatMap((row) => [
      `${row.region} database ${row.name}`,
      ...[row.owner_role, migratorOf(row.owner_role), row.rw_role, row.login_a].map(
        (role) => `${row.region} role ${role}`,
      ),
    ])
    .sort();
}
