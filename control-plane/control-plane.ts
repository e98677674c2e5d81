import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Config } from '../platform/config.ts';
import { dataFiles, registryUrl } from '../platform/config.ts';
import { FleetError } from '../platform/errors.ts';
import { listen } from '../platform/listen.ts';
import type { Logger } from '../platform/logging.ts';
import { accessRoutes } from './access/http.ts';
import { SILENT_MINUTES_MAX } from './apps/app.ts';
import { appRoutes } from './apps/http.ts';
import { tendApps } from './apps/tend.ts';
import { auditRoutes } from './audit/http.ts';
import { bootstrapFleet } from './bootstrap.ts';
import { createConnectionDriver } from './connections/driver.ts';
import { connectionRoutes } from './connections/http.ts';
import { forgetOldChecks } from './drift/check-store.ts';
import { createDriftDriver, checkWhenDue } from './drift/driver.ts';
import { openGuard } from './drift/guard.ts';
import { driftRoutes } from './drift/http.ts';
import { releaseDiffRoutes } from './drift/release-diff.ts';
import { createHttpApp } from './http/app.ts';
import { forgetOldIdempotencyKeys } from './http/store.ts';
import type { SliceRoutes } from './http/route.ts';
import type { BoundOperation } from './operations/definition.ts';
import { bindOperation } from './operations/definition.ts';
import { createOperationDriver, type Probe } from './operations/engine.ts';
import { operationRoutes } from './operations/http.ts';
import { migrateQueue, startWorker, type Schedule, type Worker } from './operations/worker.ts';
import { migrateRegistry, openRegistry, type Registry } from './registry/registry.ts';
import { releaseRoutes } from './releases/http.ts';
import { backfillRoutes } from './rollouts/backfills/http.ts';
import { createThrottle } from './rollouts/backfills/throttle.ts';
import { expirePlans } from './rollouts/engine/expire.ts';
import { forgetOldMeasurements } from './rollouts/gates/store.ts';
import { createRolloutDriver } from './rollouts/engine/driver.ts';
import { rolloutRoutes } from './rollouts/http.ts';
import { fleetMetrics } from './rollouts/view/metrics.ts';
import { createRehearsalDriver, sweepClones } from './rollouts/rehearsals/driver.ts';
import { rotationRoutes } from './rotations/http.ts';
import { ROTATE_DUE_CRON, rotateDue } from './rotations/policy/rotate-due.ts';
import { createRetireDriver } from './rotations/retire.ts';
import { rotateSecret } from './rotations/rotate.ts';
import { createRotationDriver } from './rotations/runs/driver.ts';
import { forgetOldRuns } from './rotations/runs/run-store.ts';
import { rotateServer } from './rotations/servers/rotate.ts';
import { routeRoutes } from './routes/http.ts';
import { secretRoutes } from './secrets/http.ts';
import { loadMasterKey, type MasterKey } from './secrets/keys/master-key.ts';
import { openSecrets } from './secrets/open.ts';
import { claimMasterKey, rotateMasterKey, sealOwnFiles } from './secrets/rotate-master-key.ts';
import type { Secrets } from './secrets/secret.ts';
import { createServerAccess, type ServerAccess } from './servers/access.ts';
import { addServer } from './servers/add.ts';
import { createServer as createServerOperation } from './servers/create.ts';
import { deleteServer } from './servers/delete.ts';
import { stopAsRetired } from './servers/embedded-servers.ts';
import { checkServers } from './servers/health.ts';
import { watchInstances } from './servers/instance-drift.ts';
import { serverRoutes } from './servers/http.ts';
import { modifyServer } from './servers/modify.ts';
import { sealedFiles } from './servers/providers/embedded.ts';
import { openRds, type Rds } from './servers/providers/rds/rds.ts';
import { requireKnownRegion } from './servers/region.ts';
import { snapshotServer } from './servers/snapshot.ts';
import { createTenant } from './tenants/create.ts';
import { deleteTenant } from './tenants/delete.ts';
import type { TenantDeps } from './tenants/deps.ts';
import { tenantRoutes } from './tenants/http.ts';
import { resumeTenant } from './tenants/resume.ts';
import { suspendTenant } from './tenants/suspend.ts';

/** Everything that the slices share. Made once per process. */
export interface Deps {
  registry: Registry;
  secrets: Secrets;
  servers: ServerAccess;
  logger: Logger;
  /** Folder under which the `embedded` provider keeps its clusters. */
  clustersFolder: string;
  /** Settings for embedded clusters beyond their own, e.g. `fsync: 'off'` in tests. */
  clusterSettings?: Record<string, string>;
  masterKey: MasterKey;
  /** Undefined where no region has a site on RDS. */
  rds?: Rds | undefined;
}

export interface ControlPlane {
  /** Where the API listens; undefined for a mere worker. */
  url: string | undefined;
  deps: Deps;
  stop(): Promise<void>;
}

export interface ControlPlaneOptions {
  config: Config;
  role: 'api' | 'worker' | 'all';
  logger: Logger;
  probe?: Probe;
  clusterSettings?: Record<string, string>;
  /** Fails answers that differ from their schema; for tests. */
  checkAnswers?: boolean;
}

/** All durable operations, by kind. */
export function allOperations(deps: Deps): ReadonlyMap<string, BoundOperation> {
  const tenants: TenantDeps = {
    ...deps,
    throttle: (place) => createThrottle(deps, place),
    guard: (databaseId) => openGuard(deps)(databaseId, null),
  };
  const bound = [
    bindOperation(createTenant, tenants),
    bindOperation(suspendTenant, tenants),
    bindOperation(resumeTenant, tenants),
    bindOperation(deleteTenant, tenants),
    bindOperation(rotateSecret, deps),
    bindOperation(rotateMasterKey, { ...deps, sealedFiles: () => sealedFiles(deps) }),
    bindOperation(rotateServer, deps),
    bindOperation(addServer, deps),
    bindOperation(createServerOperation, deps),
    bindOperation(deleteServer, deps),
    bindOperation(snapshotServer, deps),
    bindOperation(modifyServer, deps),
  ];
  return new Map(bound.map((operation) => [operation.kind, operation]));
}

/** All routes of the API, by slice. */
export function allRoutes(deps: Deps, operations: ReadonlyMap<string, BoundOperation>): SliceRoutes[] {
  return [
    tenantRoutes(deps),
    serverRoutes(deps),
    secretRoutes({ ...deps, silentMinutesMax: SILENT_MINUTES_MAX }),
    rotationRoutes(),
    connectionRoutes(),
    releaseRoutes(),
    rolloutRoutes(deps),
    backfillRoutes(),
    driftRoutes(),
    releaseDiffRoutes(deps),
    operationRoutes({ ...deps, operations }),
    auditRoutes(deps),
    accessRoutes({ requireKnownRegion }),
    routeRoutes(deps),
    appRoutes(),
  ];
}

/** Boots one process of the control plane: registry first, then the roles it was asked for. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { config, logger, role } = options;
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
  const registry = openRegistry(registryUrl(config), logger);
  await connectRegistry(registry);
  const masterKey = loadMasterKey(dataFiles(config.dataDir).masterKey);
  await claimMasterKey(registry, masterKey);
  const opened = await openSecrets({ config, masterKey, registry });
  const rds = await openRds(config);
  const deps = createDeps(options, { registry, masterKey, secrets: opened.secrets, rds });
  await sealOwnFiles({ ...deps, sealedFiles: () => sealedFiles(deps) });
  const operations = allOperations(deps);
  await bootstrapFleet(deps, config);
  const retirements = await stopAsRetired(deps);
  const worker = role === 'api' ? undefined : await startFleetWorker(options, deps, operations);
  const api = role === 'worker' ? undefined : await serve(deps, operations, options);
  logger.info('control plane ready', { role, url: api?.url });
  return {
    url: api?.url,
    deps,
    stop: async () => {
      await api?.close();
      await worker?.stop();
      await retirements.close();
      await deps.servers.close();
      opened.close();
      rds?.instances.close();
      await registry.close();
    },
  };
}

function createDeps(
  { config, logger, clusterSettings }: ControlPlaneOptions,
  opened: Pick<Deps, 'registry' | 'masterKey' | 'secrets' | 'rds'>,
): Deps {
  const { registry, secrets } = opened;
  return {
    ...opened,
    logger,
    servers: createServerAccess({ registry, secrets, logger }),
    clustersFolder: dataFiles(config.dataDir).clusters,
    ...(clusterSettings === undefined ? {} : { clusterSettings }),
  };
}

/** @throws FleetError `registry_unavailable` when the registry cannot be reached. */
async function connectRegistry(registry: Registry): Promise<void> {
  try {
    await migrateRegistry(registry);
    await migrateQueue(registry);
  } catch (cause) {
    throw new FleetError({
      code: 'registry_unavailable',
      status: 503,
      message: `the registry cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`,
      fix: 'check that its server runs and that FLEET_REGISTRY_URL is right',
      cause,
    });
  }
}

function startFleetWorker(
  options: ControlPlaneOptions,
  deps: Deps,
  operations: ReadonlyMap<string, BoundOperation>,
): Promise<Worker> {
  const { registry, logger } = deps;
  const schedules: Schedule[] = [
    { name: 'server-health', cron: '* * * * *', run: () => checkServers(deps) },
    { name: 'rds-drift', cron: '*/10 * * * *', run: () => watchInstances(deps) },
    { name: 'idempotency-keys', cron: '17 * * * *', run: () => forgetOldIdempotencyKeys(registry) },
    { name: 'plans', cron: '29 * * * *', run: () => expirePlans(registry) },
    { name: 'history', cron: '41 3 * * *', run: () => forgetHistory(registry) },
    { name: 'app-instances', cron: '* * * * *', run: () => tendApps(registry) },
    { name: 'secret-store', cron: '* * * * *', run: () => deps.secrets.settle(logger) },
    { name: 'destroyed-keys', cron: '47 * * * *', run: () => deps.secrets.endDestructions(registry, logger) },
    { name: 'rehearsal-copies', cron: '23 * * * *', run: () => sweepClones(deps) },
    { name: 'rotation', cron: ROTATE_DUE_CRON, run: () => rotateDue(deps, options.config.rotationPolicy) },
    ...driftSchedule(deps, options.config.driftIntervalMs),
  ];
  return startWorker({
    registry,
    logger,
    schedules,
    drivers: [
      createOperationDriver({
        registry,
        operations,
        logger,
        ...(options.probe === undefined ? {} : { probe: options.probe }),
      }),
      createRolloutDriver(deps),
      createDriftDriver(deps),
      createRehearsalDriver(deps),
      createRetireDriver(deps),
      createConnectionDriver(deps),
      createRotationDriver(deps),
    ],
  });
}

/** What nobody asks for any more. Traffic that apps report is forgotten with them, each minute. */
async function forgetHistory(registry: Registry): Promise<void> {
  await forgetOldChecks(registry);
  await forgetOldMeasurements(registry);
  await forgetOldRuns(registry);
}

/** Asks every few minutes whether a check is due: the interval may be any, and a control plane that was down catches up. */
function driftSchedule(deps: Deps, intervalMs: number | undefined): Schedule[] {
  if (intervalMs === undefined) return [];
  return [{ name: 'drift', cron: '*/5 * * * *', run: () => checkWhenDue(deps, intervalMs) }];
}

interface Listening {
  url: string;
  close(): Promise<void>;
}

async function serve(
  deps: Deps,
  operations: ReadonlyMap<string, BoundOperation>,
  options: ControlPlaneOptions,
): Promise<Listening> {
  const app = createHttpApp({
    registry: deps.registry,
    logger: deps.logger,
    slices: allRoutes(deps, operations),
    ready: () => readiness(deps.registry),
    metrics: fleetMetrics(deps),
    checkAnswers: options.checkAnswers ?? false,
  });
  const server = createServer(app);
  const { host, port } = options.config;
  const bound = await listen(server, { host, port, variable: 'FLEET_PORT' });
  return {
    url: `http://${host}:${bound}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // Event streams never end by themselves.
        server.closeAllConnections();
      }),
  };
}

/** What keeps the control plane from serving; empty when it can. */
async function readiness(registry: Registry): Promise<string[]> {
  try {
    await registry.query('SELECT 1');
    return [];
  } catch {
    // The reason is in the log of the pool; a health answer tells no details to strangers.
    return ['the registry cannot be reached'];
  }
}
