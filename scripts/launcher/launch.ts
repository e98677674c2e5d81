import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { dataFiles, type Config } from '../../platform/config.ts';
import { writePrivate } from '../../platform/files.ts';
import { startChild, type Child, type Watcher } from './child.ts';
import { takeStartLock } from './lock.ts';
import { choosePorts, type Ports } from './ports.ts';
import { startRegistryCluster, stopClusters } from './registry-cluster.ts';
import { removeRunFile, writeCliContext, writeRunFile } from './run-file.ts';

export interface LaunchOptions {
  config: Config;
  /** Progress and restarts, one line each, for a person. */
  say: (line: string) => void;
  /** Aborted: stop what was started and throw its reason. */
  signal: AbortSignal;
}

/** A fleet on this machine: registry, control plane and one tenant app per region. */
export interface Fleet {
  url: string;
  apps: Map<string, { url: string; publicUrl: string; domain: string }>;
  controlPlanePid(): number | undefined;
  /** Writes run.json: everything is ready. Kept up to date from then on, and removed by `stop`. */
  announce(): void;
  /** Apps first, so that no request meets a missing part; databases last. The data stays. */
  stop(): Promise<void>;
}

/** Boots everything in order; what was started is stopped again when a later part fails. */
export async function launchFleet(options: LaunchOptions): Promise<Fleet> {
  const undo: (() => Promise<void> | void)[] = [];
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    return { ...(await boot(options, undo)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function boot(
  { config, say, signal }: LaunchOptions,
  undo: (() => Promise<void> | void)[],
): Promise<Omit<Fleet, 'stop'>> {
  const { dataDir } = config;
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  // A lock or a run file that is still there: the last launcher was killed, and its programs may be ending.
  const afterKill = [dataFiles(dataDir).run, dataFiles(dataDir).lock].some((file) => existsSync(file));
  undo.push(takeStartLock(dataFiles(dataDir).lock));
  removeRunFile(dataDir);
  const ports = await choosePorts(config, afterKill);

  say(existsSync(dataFiles(dataDir).clusters) ? 'starting PostgreSQL' : 'making PostgreSQL servers (once)');
  undo.push(() => stopClusters(dataDir));
  await startRegistry(config);
  signal.throwIfAborted();

  say('starting the control plane');
  const running = new Map<string, Child>();
  let announced = false;
  const announce = (): void => {
    announced = true;
    announceRunning(config, running);
  };
  const watcher = { say, signal, restarted: () => (announced ? announce() : undefined) };
  const controlPlane = await startControlPlane(config, ports, watcher);
  running.set('control-plane', controlPlane);
  undo.push(() => controlPlane.stop());
  writeCliContext(dataDir, controlPlane.url);
  signal.throwIfAborted();

  say(`starting the tenant apps of ${config.regions.join(', ')}`);
  for (const region of config.regions) {
    const app = await startApp(config, ports, region, controlPlane.url, watcher);
    running.set(region, app);
    undo.push(() => app.stop());
    signal.throwIfAborted();
  }
  undo.push(() => removeRunFile(dataDir));
  return {
    announce,
    url: controlPlane.url,
    apps: new Map(config.regions.map((region) => [region, appAddress(running, ports, region)])),
    controlPlanePid: () => controlPlane.pid(),
  };
}

async function startRegistry(config: Config): Promise<void> {
  if (config.registryUrl === undefined) await startRegistryCluster(config.dataDir);
  else writePrivate(dataFiles(config.dataDir).registryUrl, `${config.registryUrl}\n`);
}

function startControlPlane(config: Config, ports: Ports, watcher: Watcher): Promise<Child> {
  const appUrls = config.regions.map((region) => [region, publicUrl(ports, region)]);
  return startChild(
    {
      name: 'control plane',
      folder: 'control-plane',
      logFile: join(config.dataDir, 'logs', 'control-plane.log'),
      env: {
        FLEET_DATA_DIR: config.dataDir,
        FLEET_PORT: String(ports.controlPlane),
        FLEET_REGIONS: config.regions.join(',') || 'none',
        FLEET_APP_URLS: JSON.stringify(Object.fromEntries(appUrls)),
      },
    },
    watcher,
  );
}

function startApp(
  config: Config,
  ports: Ports,
  region: string,
  controlPlaneUrl: string,
  watcher: Watcher,
): Promise<Child> {
  return startChild(
    {
      name: `tenant app ${region}`,
      folder: 'tenant-app',
      logFile: join(config.dataDir, 'logs', `app-${region}.log`),
      env: {
        FLEET_DATA_DIR: config.dataDir,
        FLEET_URL: controlPlaneUrl,
        FLEET_TOKEN_FILE: dataFiles(config.dataDir).appToken(region),
        FLEET_REGION: region,
        FLEET_APP_PORT: String(ports.apps.get(region)),
      },
    },
    watcher,
  );
}

function announceRunning(config: Config, running: Map<string, Child>): void {
  const controlPlane = running.get('control-plane');
  const apps = config.regions.flatMap((region) => {
    const app = running.get(region);
    return app === undefined
      ? []
      : [[region, { url: app.url, pid: app.pid(), domain: domainOf(region) }] as const];
  });
  if (controlPlane === undefined) return;
  writeRunFile(config.dataDir, {
    controlPlane: { url: controlPlane.url, pid: controlPlane.pid() },
    apps: Object.fromEntries(apps),
  });
}

function appAddress(running: Map<string, Child>, ports: Ports, region: string) {
  return {
    url: running.get(region)?.url ?? '',
    publicUrl: publicUrl(ports, region),
    domain: domainOf(region),
  };
}

/** Browsers and curl resolve every name below `localhost` to loopback. */
function domainOf(region: string): string {
  return `${region}.localhost`;
}

function publicUrl(ports: Ports, region: string): string {
  return `http://${domainOf(region)}:${ports.apps.get(region)}`;
}
