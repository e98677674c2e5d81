import express from 'express';
import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createKey } from '../../../control-plane/access/keys.ts';
import { createHttpApp } from '../../../control-plane/http/app.ts';
import { appRoutes } from '../../../control-plane/apps/http.ts';
import { routeRoutes } from '../../../control-plane/routes/http.ts';
import { createSecrets, type Secrets } from '../../../control-plane/secrets/secret.ts';
import { scramVerifier } from '../../../platform/crypto.ts';
import { listen } from '../../../platform/listen.ts';
import { quoteIdent, quoteLiteral, withClient, type PgAddress } from '../../../platform/pg.ts';
import { projectRoot } from '../../../platform/project.ts';
import { problemHandler } from '../../../tenant-app/routing/problem.ts';
import { startTenantApp, type TenantApp, type TenantAppOptions } from '../../../tenant-app/tenant-app.ts';
import {
  tenantRouting,
  type RoutingLimits,
  type TenantRouting,
} from '../../../tenant-app/routing/tenant-routing.ts';
import { clusters } from '../../support/clusters.ts';
import { freshRegistry, quietLogger, testLog, type TestRegistry } from '../../support/registry.ts';

/**
 * A real registry, the real HTTP layer with the routes slice, real tenant databases: only their making is done
 * by hand here, so that what is tested needs no operation.
 */
export interface MiniFleet {
  registry: TestRegistry['registry'];
  secrets: Secrets;
  url: string;
  tokens: Record<string, string>;
  /** Ids of the regions' servers. */
  servers: Record<string, string>;
  addTenant(slug: string, options?: { region?: string; identity?: string }): Promise<TestTenant>;
  /** Makes a new password for the tenant's login, as a rotation in place would. */
  rotate(tenant: TestTenant): Promise<void>;
  startApp(options?: Partial<TenantAppOptions>): Promise<TenantApp>;
  /** Stops and starts the control plane's HTTP server; the port stays. */
  stopHttp(): Promise<void>;
  startHttp(): Promise<void>;
  stop(): Promise<void>;
}

export interface TestTenant {
  id: string;
  slug: string;
  region: string;
  host: string;
  databaseId: string;
  database: string;
  login: string;
}

const REGIONS = ['eu', 'us'] as const;

export async function startMiniFleet(): Promise<MiniFleet> {
  const test = await freshRegistry();
  const { registry } = test;
  const secrets = createSecrets(randomBytes(32));
  const servers: Record<string, string> = {};
  const tokens: Record<string, string> = {};
  for (const region of REGIONS) {
    servers[region] = await addRegion(registry, region);
    const key = { name: `app-${region}`, kind: 'app' as const, role: 'app' as const, regions: [region] };
    tokens[region] = (await registry.transaction((tx) => createKey(tx, key))).token;
  }
  const slices = [routeRoutes({ registry, secrets, logger: quietLogger }), appRoutes()];
  const ready = () => Promise.resolve([]);
  const app = createHttpApp({ registry, logger: quietLogger, slices, ready, checkAnswers: true });
  let http: Server;
  let port = 0;
  const apps: TenantApp[] = [];
  const made: TestTenant[] = [];
  const fleet: MiniFleet = {
    registry,
    secrets,
    url: '',
    tokens,
    servers,
    addTenant: async (slug, options = {}) => {
      const tenant = await addTenant(fleet, slug, options);
      made.push(tenant);
      return tenant;
    },
    rotate: (tenant) => rotate(fleet, tenant),
    startApp: async (options = {}) => {
      const region = options.region ?? 'eu';
      const token = tokens[region] ?? '';
      const started = await startTenantApp({
        region,
        controlPlaneUrl: fleet.url,
        token,
        port: 0,
        ...{ logger: quietLogger, accessLogTo: testLog },
        ...options,
      });
      apps.push(started);
      await started.routing.whenReady;
      return started;
    },
    startHttp: () =>
      new Promise((resolve) => {
        http = app.listen(port, '127.0.0.1', () => {
          port = (http.address() as AddressInfo).port;
          fleet.url = `http://127.0.0.1:${port}`;
          resolve();
        });
      }),
    stopHttp: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
    stop: async () => {
      await Promise.all(apps.map((started) => started.stop()));
      await fleet.stopHttp();
      await test.drop();
      await Promise.all(made.map(dropDatabase));
    },
  };
  await fleet.startHttp();
  return fleet;
}

export interface RoutedApp {
  url: string;
  routing: TenantRouting;
  stop(): Promise<void>;
}

/** Serves a test's own handlers behind the middleware, in region eu. */
export async function serveRouted(
  fleet: MiniFleet,
  limits: Partial<RoutingLimits>,
  handlers: (app: express.Express) => void,
): Promise<RoutedApp> {
  const routing = tenantRouting({
    region: 'eu',
    controlPlaneUrl: fleet.url,
    token: fleet.tokens['eu'] ?? '',
    logger: quietLogger,
    limits,
  });
  const app = express();
  app.use(routing.middleware);
  handlers(app);
  app.use(problemHandler(quietLogger));
  const server = createServer(app);
  const port = await listen(server, { host: '127.0.0.1', port: 0, variable: 'no setting' });
  await routing.whenReady;
  return {
    url: `http://127.0.0.1:${port}`,
    routing,
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await routing.stop();
    },
  };
}

function serverOf(region: string): PgAddress {
  return region === 'us' ? clusters().us.superuser : clusters().eu.superuser;
}

async function addRegion(registry: TestRegistry['registry'], region: string): Promise<string> {
  const id = randomUUID();
  const { host, port } = serverOf(region);
  await registry.query('INSERT INTO regions (name, jurisdiction, domain, app_url) VALUES ($1, $1, $2, $3)', [
    region,
    `${region}.localhost`,
    `http://${region}.example.test`,
  ]);
  await registry.query(
    `INSERT INTO servers (id, name, region, provider, mode, state, host, port, tls, admin_user, admin_database,
                          max_databases, max_connections)
     VALUES ($1, $2, $3, 'postgres', 'shared', 'ready', $4, $5, 'disable', 'fleet_admin', 'postgres', 1000, 10000)`,
    [id, `${region}-1`, region, host, port],
  );
  return id;
}

async function addTenant(
  fleet: MiniFleet,
  slug: string,
  options: { region?: string; identity?: string },
): Promise<TestTenant> {
  const region = options.region ?? 'eu';
  const [id, databaseId] = [randomUUID(), randomUUID()];
  const database = `t_${databaseId.replaceAll('-', '')}`;
  const login = `${database}_a`;
  const tenant = { id, slug, region, host: `${slug}.${region}.localhost`, databaseId, database, login };
  const versionId = randomUUID();
  const version = { id: versionId, owner: `tenant:${id}`, subject: `database:${databaseId}`, region, login };
  await fleet.registry.transaction((tx) => fleet.secrets.createVersion(tx, version));
  await makeDatabase(tenant, await fleet.secrets.password(fleet.registry, versionId), options.identity ?? id);
  await fleet.registry.transaction(async (tx) => {
    await tx.query(
      "INSERT INTO tenants (id, slug, name, tier, region, state) VALUES ($1, $2, $2, 'standard', $3, 'active')",
      [id, slug, region],
    );
    await tx.query(
      `INSERT INTO databases (id, tenant_id, server_id, name, owner_role, rw_role, login_a, login_b, state,
                              schema_version, connection_limit)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'ready', '0002_idempotency_keys', 20)`,
      [
        databaseId,
        id,
        fleet.servers[region],
        database,
        `${database}_owner`,
        `${database}_rw`,
        login,
        `${database}_b`,
      ],
    );
    await fleet.secrets.promote(tx, versionId);
  });
  return tenant;
}

async function makeDatabase(tenant: TestTenant, password: string, identity: string): Promise<void> {
  const server = serverOf(tenant.region);
  const session = { applicationName: 'test' };
  await withClient(server, session, async (client) => {
    await client.query(
      `CREATE ROLE ${quoteIdent(tenant.login)} LOGIN CONNECTION LIMIT 20 PASSWORD ${quoteLiteral(scramVerifier(password))}`,
    );
    await client.query(`CREATE DATABASE ${quoteIdent(tenant.database)}`);
  });
  await withClient({ ...server, database: tenant.database }, session, async (client) => {
    for (const name of ['0001_projects_and_tasks', '0002_idempotency_keys']) {
      const file = join(projectRoot(), 'migrations', 'tenant', `${name}.sql`);
      await client.query(readFileSync(file, 'utf8').split('-- Down Migration')[0] ?? '');
    }
    await client.query(`
      CREATE TABLE pgmigrations (id serial PRIMARY KEY, name varchar(255), run_on timestamp);
      INSERT INTO pgmigrations (name, run_on) VALUES ('0001_projects_and_tasks', now()), ('0002_idempotency_keys', now());
      CREATE SCHEMA fleet;
      CREATE TABLE fleet.identity (tenant_id uuid, database_id uuid);
      INSERT INTO fleet.identity VALUES (${quoteLiteral(identity)}, ${quoteLiteral(tenant.databaseId)});
      GRANT USAGE ON SCHEMA fleet, public TO ${quoteIdent(tenant.login)};
      GRANT SELECT ON fleet.identity TO ${quoteIdent(tenant.login)};
      GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${quoteIdent(tenant.login)};`);
  });
}

async function rotate(fleet: MiniFleet, tenant: TestTenant): Promise<void> {
  const { id, region, login, databaseId } = tenant;
  const version = {
    id: randomUUID(),
    owner: `tenant:${id}`,
    subject: `database:${databaseId}`,
    region,
    login,
  };
  await fleet.registry.transaction((tx) => fleet.secrets.createVersion(tx, version));
  const password = await fleet.secrets.password(fleet.registry, version.id);
  await withClient(serverOf(region), { applicationName: 'test' }, (client) =>
    client.query(`ALTER ROLE ${quoteIdent(login)} PASSWORD ${quoteLiteral(scramVerifier(password))}`),
  );
  await fleet.registry.transaction((tx) => fleet.secrets.promote(tx, version.id));
}

async function dropDatabase(tenant: TestTenant): Promise<void> {
  await withClient(serverOf(tenant.region), { applicationName: 'test' }, async (client) => {
    await client.query(`DROP DATABASE IF EXISTS ${quoteIdent(tenant.database)} WITH (FORCE)`);
    await client.query(`DROP ROLE IF EXISTS ${quoteIdent(tenant.login)}`);
  });
}

/** Runs a query on the server of a region as superuser. */
export async function onServer<R extends object>(
  region: string,
  sql: string,
  values: unknown[] = [],
): Promise<R[]> {
  return withClient(serverOf(region), { applicationName: 'test' }, async (client) => {
    const { rows } = await client.query<R>(sql, values);
    return rows;
  });
}
