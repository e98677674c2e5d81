import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Operation } from '../../contract/operation.ts';
import type { Tenant } from '../../contract/tenant.ts';
import {
  startControlPlane,
  type ControlPlane,
  type ControlPlaneOptions,
} from '../../control-plane/control-plane.ts';
import { renderMigrations } from '../../fleet-cli/release/render.ts';
import { dataFiles, loadConfig, type Config } from '../../platform/config.ts';
import type { Logger } from '../../platform/logging.ts';
import { addressUrl } from '../../platform/pg.ts';
import { projectRoot } from '../../platform/project.ts';
import { startTenantApp, type TenantApp, type TenantAppOptions } from '../../tenant-app/tenant-app.ts';
import { apiClient, type Api } from './api.ts';
import { clusters } from './clusters.ts';
import { freshRegistry, quietLogger, testLog, type TestRegistry } from './registry.ts';
import { until } from './until.ts';

/** A whole fleet in this process: control plane, two regions on the run's clusters, tenant apps on request. */
export interface Fleet {
  config: Config;
  controlPlane: ControlPlane;
  registry: TestRegistry['registry'];
  url: string;
  adminToken: string;
  admin: Api;
  apps: Record<string, TenantApp>;
  /** Starts the region's tenant app. */
  startApp(region: 'eu' | 'us', more?: Partial<TenantAppOptions>): Promise<TenantApp>;
  createTenant(slug: string, region?: string, more?: object): Promise<Tenant>;
  /** Waits until the operation is over and answers it. */
  finished(operationId: string): Promise<Operation>;
  stop(): Promise<void>;
}

export interface FleetOptions {
  role?: ControlPlaneOptions['role'];
  probe?: ControlPlaneOptions['probe'];
  /** Publish migrations/tenant first (default). */
  publish?: boolean;
  servers?: boolean;
  logger?: Logger;
  /** Holds each answer against the contract (default); benchmarks measure what users run. */
  checkAnswers?: boolean;
  /** Settings beyond those of every test. */
  env?: NodeJS.ProcessEnv;
}

export async function startFleet(options: FleetOptions = {}): Promise<Fleet> {
  const test = await freshRegistry();
  const dataDir = mkdtempSync(join(tmpdir(), 'flotilla-fleet-'));
  const config = fleetConfig(dataDir, options.env);
  writeFileSync(dataFiles(dataDir).registryUrl, test.url, { mode: 0o600 });
  const controlPlane = await startControlPlane({
    config,
    role: options.role ?? 'all',
    logger: options.logger ?? quietLogger,
    clusterSettings: { fsync: 'off' },
    checkAnswers: options.checkAnswers ?? true,
    ...(options.probe === undefined ? {} : { probe: options.probe }),
  });
  const url = controlPlane.url ?? '';
  const adminToken = readFileSync(dataFiles(dataDir).adminToken, 'utf8').trim();
  const admin = apiClient(url, adminToken);
  const apps: Record<string, TenantApp> = {};
  const fleet: Fleet = {
    config,
    controlPlane,
    registry: test.registry,
    url,
    adminToken,
    admin,
    apps,
    startApp: async (region, more = {}) => {
      const token = readFileSync(dataFiles(dataDir).appToken(region), 'utf8').trim();
      const app = await startTenantApp({
        region,
        controlPlaneUrl: url,
        token,
        ...secretStoreOf(config, region),
        ...{ port: 0, logger: options.logger ?? quietLogger, accessLogTo: testLog, ...more },
      });
      apps[region] = app;
      return app;
    },
    createTenant: async (slug, region = 'eu', more = {}) => {
      const answer = await admin.call('POST', '/api/v1/tenants', { slug, region, ...more });
      if (answer.status !== 202) throw new Error(`tenant ${slug}: ${JSON.stringify(answer.body)}`);
      const operation = await fleet.finished(operationIdOf(answer.headers));
      if (operation.state !== 'succeeded')
        throw new Error(`tenant ${slug}: ${JSON.stringify(operation.error)}`);
      return admin.ok<Tenant>('GET', `/api/v1/tenants/${slug}`);
    },
    finished: (id) =>
      until(
        `operation ${id} ends`,
        async () => {
          const operation = await admin.ok<Operation>('GET', `/api/v1/operations/${id}`);
          return operation.finishedAt === null ? undefined : operation;
        },
        60_000,
      ),
    stop: async () => {
      await Promise.all(Object.values(apps).map((app) => app.stop()));
      await controlPlane.stop();
      await test.drop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
  try {
    await furnish(fleet, options);
    return fleet;
  } catch (error) {
    // What stays open would keep mocha from ending.
    await fleet.stop();
    throw error;
  }
}

/** Where an app of the region reads credentials. */
function secretStoreOf(config: Config, region: string): Pick<TenantAppOptions, 'secretStore'> {
  const awsRegion = config.awsRegions[region];
  return config.secretStore === 'aws' && awsRegion !== undefined ? { secretStore: { awsRegion } } : {};
}

async function furnish(fleet: Fleet, options: FleetOptions): Promise<void> {
  if (options.publish !== false) {
    const migrations = await renderMigrations(join(projectRoot(), 'migrations', 'tenant'));
    await fleet.admin.ok('POST', '/api/v1/releases', { migrations });
  }
  if (options.servers !== false && options.role !== 'api') {
    for (const region of ['eu', 'us'] as const) await addTestServer(fleet, region);
  }
}

/** The configuration of a fleet in a throw-away folder, on any free ports. */
export function fleetConfig(dataDir: string, more: NodeJS.ProcessEnv = {}): Config {
  return loadConfig({
    FLEET_DATA_DIR: dataDir,
    FLEET_PORT: '0',
    FLEET_APP_PORT: '0',
    FLEET_REGIONS: 'eu,us',
    FLEET_LOG_LEVEL: 'silent',
    FLEET_APP_URLS: JSON.stringify({ eu: 'http://eu.localhost:4700', us: 'http://us.localhost:4701' }),
    ...more,
  });
}

/** Registers the run's cluster of the region as its shared server `<region>-1`. */
export async function addTestServer(fleet: Fleet, region: 'eu' | 'us', more: object = {}): Promise<void> {
  const answer = await fleet.admin.call('POST', '/api/v1/servers', {
    name: `${region}-1`,
    region,
    url: addressUrl(clusters()[region].superuser),
    ...more,
  });
  if (answer.status !== 202) throw new Error(`server ${region}: ${JSON.stringify(answer.body)}`);
  const operation = await fleet.finished(operationIdOf(answer.headers));
  if (operation.state !== 'succeeded')
    throw new Error(`server ${region}: ${JSON.stringify(operation.error)}`);
}

/** The operation that a 202 answer points to. */
export function operationIdOf(headers: Record<string, string>): string {
  const id = headers.location?.split('/').at(-1);
  if (id === undefined) throw new Error('the answer has no Location');
  return id;
}
