import { randomBytes, randomUUID } from 'node:crypto';
import type { CreateTenant, Tenant } from '../../../contract/tenant.ts';
import { CreateTenant as CreateTenantSchema } from '../../../contract/tenant.ts';
import { SYSTEM_CALLER, type Asker } from '../../../control-plane/access/caller.ts';
import { openGuard } from '../../../control-plane/drift/guard.ts';
import { bindOperation, type BoundOperation } from '../../../control-plane/operations/definition.ts';
import { createOperationDriver } from '../../../control-plane/operations/engine.ts';
import { getOperation } from '../../../control-plane/operations/store.ts';
import type { Registry, Transaction } from '../../../control-plane/registry/registry.ts';
import { publishRelease } from '../../../control-plane/releases/publish.ts';
import { createSecrets } from '../../../control-plane/secrets/secret.ts';
import { createServerAccess } from '../../../control-plane/servers/access.ts';
import { databaseNames } from '../../../control-plane/servers/database.ts';
import { hardenAsSuperuser } from '../../../control-plane/servers/admin.ts';
import { FLEET_ADMIN } from '../../../control-plane/servers/inspect.ts';
import { MIGRATORS } from '../../../control-plane/servers/migrator.ts';
import { migratorSubject, serverSubject } from '../../../control-plane/servers/server.ts';
import { rotateSecret } from '../../../control-plane/rotations/rotate.ts';
import { rotateServer } from '../../../control-plane/rotations/servers/rotate.ts';
import { createTenant, startCreateTenant } from '../../../control-plane/tenants/create.ts';
import { deleteTenant, startDeleteTenant } from '../../../control-plane/tenants/delete.ts';
import type { TenantDeps } from '../../../control-plane/tenants/deps.ts';
import { dropDatabase } from '../../../control-plane/tenants/physical-database.ts';
import { resumeTenant } from '../../../control-plane/tenants/resume.ts';
import { dropRoles } from '../../../control-plane/tenants/roles.ts';
import { findTenant } from '../../../control-plane/tenants/store.ts';
import { suspendTenant } from '../../../control-plane/tenants/suspend.ts';
import { randomPassword, scramVerifier } from '../../../platform/crypto.ts';
import { quoteIdent, withClient, type PgAddress } from '../../../platform/pg.ts';
import { clusters } from '../../support/clusters.ts';
import { handedOut } from '../../support/handed-out.ts';
import { driveOnce } from '../../support/drive.ts';
import { serverInventory } from '../../support/inventory.ts';
import { freshRegistry, quietLogger } from '../../support/registry.ts';

/** A registry with one real server in each region, and no worker: tests drive operations by hand. */
export interface World {
  registry: Registry;
  deps: TenantDeps;
  operations: ReadonlyMap<string, BoundOperation>;
  /** Runs `work` as a request of an admin. */
  request<T>(work: (request: Asker & { tx: Transaction }) => Promise<T>): Promise<T>;
  /** Starts a creation; nothing works on it yet. */
  begin(slug: string, more?: Partial<CreateTenant>): Promise<{ operationId: string; tenantId: string }>;
  /** Carries the operation to its end and answers its state. */
  drive(operationId: string): Promise<string | undefined>;
  /** Creates a tenant to the end. */
  create(slug: string, more?: Partial<CreateTenant>): Promise<Tenant>;
  /** Deletes it to the end. */
  remove(tenantId: string): Promise<void>;
  /** How the tenant's application connects. */
  login(tenantId: string): Promise<PgAddress>;
  /** Publishes the first `count` of MIGRATIONS. */
  publish(count: number): Promise<string>;
  inventory(): Promise<string[]>;
  stop(): Promise<void>;
}

/** A table, one with a sequence and a function, and a column that came later. */
const MIGRATIONS = [
  'CREATE TABLE notes (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), body text NOT NULL)',
  `CREATE TABLE marks (id serial PRIMARY KEY, note uuid REFERENCES notes);
   CREATE FUNCTION note_count() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM notes'`,
  'ALTER TABLE notes ADD COLUMN done boolean NOT NULL DEFAULT false',
];

export async function startWorld(): Promise<World> {
  const test = await freshRegistry();
  const { registry } = test;
  const secrets = createSecrets(randomBytes(32));
  const deps: TenantDeps = {
    registry,
    secrets,
    logger: quietLogger,
    throttle: () => () => Promise.resolve(null),
    servers: createServerAccess({ registry, secrets, logger: quietLogger }),
    guard: (databaseId) => openGuard(deps)(databaseId, null),
  };
  await addRegions(deps);
  const bound = [
    bindOperation(createTenant, deps),
    bindOperation(suspendTenant, deps),
    bindOperation(resumeTenant, deps),
    bindOperation(deleteTenant, deps),
    bindOperation(rotateSecret, deps),
    bindOperation(rotateServer, deps),
  ];
  const operations = new Map(bound.map((one) => [one.kind, one]));
  const driver = createOperationDriver({ registry, operations, logger: quietLogger });

  const world: World = {
    registry,
    deps,
    operations,
    request: (work) => registry.transaction((tx) => work({ tx, caller: SYSTEM_CALLER, requestId: 'test' })),
    begin: (slug, more = {}) =>
      world.request((request) =>
        startCreateTenant(request.tx, CreateTenantSchema.parse({ slug, region: 'eu', ...more }), request),
      ),
    drive: async (operationId) => {
      await driveOnce(registry, driver, operationId);
      return (await getOperation(registry, operationId))?.state;
    },
    create: async (slug, more) => {
      const { operationId, tenantId } = await world.begin(slug, more);
      await world.drive(operationId);
      const tenant = await findTenant(registry, tenantId);
      if (tenant?.state !== 'active') {
        throw new Error(`${slug}: ${JSON.stringify((await getOperation(registry, operationId))?.error)}`);
      }
      return tenant;
    },
    remove: async (tenantId) => {
      const tenant = await findTenant(registry, tenantId);
      if (tenant === undefined || tenant.state === 'deleted') return;
      const { operationId } = await world.request((request) =>
        startDeleteTenant(request.tx, tenantId, tenant.slug, request),
      );
      if ((await world.drive(operationId)) === 'succeeded') return;
      const error = (await getOperation(registry, operationId))?.error;
      throw new Error(`deleting ${tenant.slug}: ${JSON.stringify(error)}`);
    },
    login: async (tenantId) => (await handedOut(deps, tenantId)).address,
    publish: (count) => publish(registry, count),
    inventory: async () => [...(await serverInventory()), ...(await registryInventory(registry))],
    stop: async () => {
      await deps.servers.close();
      await dropTenants(registry);
      await dropTemplates();
      await test.drop();
    },
  };
  return world;
}

async function addRegions(deps: TenantDeps): Promise<void> {
  // Templates are named by release only, and another registry's releases are not ours.
  await dropTemplates();
  for (const [region, port] of [
    ['eu', 4700],
    ['us', 4701],
  ] as const) {
    await deps.registry.query(
      'INSERT INTO regions (name, jurisdiction, domain, app_url) VALUES ($1, upper($1), $2, $3)',
      [region, `${region}.localhost`, `http://127.0.0.1:${port}`],
    );
    await addServer(deps, region);
  }
}

async function addServer({ registry, secrets }: TenantDeps, region: 'eu' | 'us'): Promise<void> {
  const { superuser } = clusters()[region];
  const [id, password] = [randomUUID(), randomPassword()];
  const migratorPassword = randomPassword();
  await hardenAsSuperuser(superuser, id, scramVerifier(password));
  await registry.transaction(async (tx) => {
    await tx.query(
      `INSERT INTO servers (id, name, region, provider, mode, state, host, port, tls, admin_user,
                            admin_database, max_databases, max_connections)
       VALUES ($1, $2, $3, 'postgres', 'shared', 'ready', $4, $5, 'disable', $6, 'postgres', 100, 1000)`,
      [id, `${region}-1`, region, superuser.host, superuser.port, FLEET_ADMIN],
    );
    const subject = serverSubject(id);
    await secrets.importVersion(
      tx,
      { id: randomUUID(), owner: subject, subject, region, login: FLEET_ADMIN },
      password,
    );
    const migrator = migratorSubject(id);
    await secrets.importVersion(
      tx,
      { id: randomUUID(), owner: subject, subject: migrator, region, login: MIGRATORS },
      migratorPassword,
    );
  });
}

/** Other tests count what stands on the servers. */
async function dropTenants(registry: Registry): Promise<void> {
  const { rows } = await registry.query<{ id: string; region: 'eu' | 'us' }>(
    `SELECT d.id, s.region FROM databases d JOIN servers s ON s.id = d.server_id WHERE d.state <> 'dropped'`,
  );
  for (const { id, region } of rows) {
    await withClient(clusters()[region].superuser, { applicationName: 'test' }, async (client) => {
      await dropDatabase(client, databaseNames(id).name);
      await dropRoles(client, databaseNames(id));
    });
  }
}

async function dropTemplates(): Promise<void> {
  for (const region of ['eu', 'us'] as const) {
    await withClient(clusters()[region].superuser, { applicationName: 'test' }, async (client) => {
      const { rows } = await client.query<{ name: string }>(
        "SELECT datname AS name FROM pg_database WHERE datname LIKE 'fleet\\_template\\_%'",
      );
      for (const { name } of rows) await client.query(`DROP DATABASE ${quoteIdent(name)} WITH (FORCE)`);
    });
  }
}

async function publish(registry: Registry, count: number): Promise<string> {
  const migrations = MIGRATIONS.slice(0, count).map((upSql, index) => {
    const name = `${String(index + 1).padStart(4, '0')}_m`;
    return {
      ...{ name, file: `${name}.sql`, upSql, downSql: null, phase: 'expand' as const, transactional: true },
      ...{ lockTimeoutMs: null, statementTimeoutMs: null },
    };
  });
  return registry.transaction((tx) => publishRelease(tx, { migrations }, SYSTEM_CALLER, 'test'));
}

/** Rows that a tenant which is gone must not leave behind. */
async function registryInventory(registry: Registry): Promise<string[]> {
  const { rows } = await registry.query<{ item: string }>(
    `SELECT 'tenant ' || slug || ' ' || state AS item FROM tenants WHERE state <> 'deleted'
     UNION ALL SELECT 'database ' || id FROM databases WHERE state <> 'dropped'
     UNION ALL SELECT 'domain ' || host FROM domains
     UNION ALL SELECT 'secret ' || id FROM secret_versions WHERE stage <> 'retired'
     UNION ALL SELECT 'sealed ' || version_id FROM sealed_secrets
     UNION ALL SELECT 'key ' || owner FROM data_keys WHERE destroy_at IS NULL
     UNION ALL SELECT 'lease ' || resource FROM leases WHERE holder IS NOT NULL AND expires_at > now()
                 AND worker_is_alive(holder)
     ORDER BY 1`,
  );
  return rows.map((row) => row.item);
}
