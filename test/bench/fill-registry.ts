import { randomUUID } from 'node:crypto';
import type { Registry } from '../../control-plane/registry/registry.ts';

interface Filling {
  tenants: number;
  /** Of each tenant. */
  state: 'active' | 'suspended';
  /** Where their server listens on the loopback; 0: nowhere. */
  port?: number;
}

/** The head of migrations/tenant: what each database is said to have. */
const HEAD = '0002_idempotency_keys';

/**
 * What so many creations in region eu would leave in the registry, in a second or two; the databases do not exist.
 * Triggers are off: one change each is what they would write, too.
 */
export async function fillRegistry(registry: Registry, { tenants, state, port = 0 }: Filling): Promise<void> {
  const server = randomUUID();
  await registry.transaction(async (tx) => {
    await tx.query("SET LOCAL session_replication_role = 'replica'");
    await tx.query(
      `INSERT INTO regions (name, jurisdiction, domain, app_url) VALUES ('eu', 'eu', 'eu.localhost', 'http://eu.test')
         ON CONFLICT DO NOTHING`,
    );
    await tx.query(
      `INSERT INTO servers (id, name, region, provider, mode, state, host, port, tls, admin_user, admin_database,
                            max_databases, max_connections)
       VALUES ($1, 'eu-1', 'eu', 'postgres', 'shared', 'ready', '127.0.0.1', $2, 'disable', 'admin', 'postgres',
               200000, 10000)`,
      [server, port],
    );
    await tx.query(
      `INSERT INTO tenants (id, slug, name, tier, region, state)
       SELECT gen_random_uuid(), 'tenant-' || n, 'Tenant ' || n, 'standard', 'eu', $2
         FROM generate_series(1, $1) AS n`,
      [tenants, state],
    );
    await tx.query(
      `INSERT INTO databases (id, tenant_id, server_id, name, owner_role, rw_role, login_a, login_b, state,
                              schema_version, connection_limit)
       SELECT gen_random_uuid(), id, $1, name, name || '_owner', name || '_rw', name || '_a', name || '_b',
              'ready', $2, 20
         FROM (SELECT id, 't_' || replace(id::text, '-', '') AS name FROM tenants) AS named`,
      [server, HEAD],
    );
    await tx.query(
      `INSERT INTO secret_versions (id, owner, subject, region, login, stage)
       SELECT gen_random_uuid(), 'tenant:' || tenant_id, 'database:' || id, 'eu', login_a, 'current' FROM databases`,
    );
    await tx.query(
      "INSERT INTO route_changes (tenant_id, version) SELECT id, nextval('route_version_seq') FROM tenants",
    );
  });
  await registry.query('ANALYZE');
}
