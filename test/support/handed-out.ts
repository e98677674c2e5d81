import type { TenantDeps } from '../../control-plane/tenants/deps.ts';
import { databaseSubject } from '../../control-plane/secrets/secret.ts';
import { findLiveDatabase } from '../../control-plane/servers/database-store.ts';
import type { PgAddress } from '../../platform/pg.ts';

/** The version of a tenant's credential that apps are handed out now, and how one logs in with it. */
export async function handedOut(
  { registry, secrets, servers }: Pick<TenantDeps, 'registry' | 'secrets' | 'servers'>,
  tenantId: string,
): Promise<{ versionId: string; address: PgAddress }> {
  const database = await findLiveDatabase(registry, tenantId);
  if (database === undefined) throw new Error(`tenant ${tenantId} has no database`);
  const current = await secrets.current(registry, databaseSubject(database.id));
  if (current === undefined) throw new Error(`database ${database.id} has no credential`);
  const { host, port, tls } = await servers.address(database.serverId, database.name);
  const { versionId, login: user, password } = current;
  return { versionId, address: { host, port, tls, database: database.name, user, password } };
}
