import { dataFiles } from '../../platform/config.ts';
import { startChild, type Child } from './child.ts';
import type { Fleet } from './fleet.ts';

/** A worker of the fleet in a process of its own, for tests that kill it; the fleet's role is `api` then. */
export function startWorkerProcess(fleet: Fleet): Child {
  return startChild('control-plane/main.ts', ['--role', 'worker'], {
    FLEET_DATA_DIR: fleet.config.dataDir,
    FLEET_LOG_LEVEL: 'warn',
    FLEET_REGISTRY_URL: undefined,
  });
}

/** Resolves when the worker says that it works. */
export async function workerIsReady(worker: Child): Promise<void> {
  await worker.line((text) => text.includes('ready'));
}

/** The tenant app of a region in a process of its own. `port` 0: any. */
export function startAppProcess(fleet: Fleet, region: string, port = '0'): Child {
  return startChild('tenant-app/main.ts', [], {
    FLEET_URL: fleet.url,
    FLEET_TOKEN_FILE: dataFiles(fleet.config.dataDir).appToken(region),
    ...{ FLEET_REGION: region, FLEET_APP_PORT: port, FLEET_LOG_LEVEL: 'error' },
  });
}

/** Where the app listens, as soon as it can serve. */
export async function appUrl(app: Child): Promise<string> {
  return (JSON.parse(await app.line((line) => line.includes('"ready"'))) as { url: string }).url;
}
