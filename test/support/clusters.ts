import { join } from 'node:path';
import { startCluster, type Cluster } from '../../control-plane/servers/providers/cluster.ts';
import { makeServersFolder } from './test-run.ts';

/** The PostgreSQL servers of a process that runs tests: started once, stopped at the end of the run. */
export interface TestClusters {
  registry: Cluster;
  eu: Cluster;
  us: Cluster;
}

const NAMES = ['registry', 'eu', 'us'] as const;

/** Throw-away data needs no flush to disk: kills of processes (not of the machine) lose nothing without it. */
export const TEST_SETTINGS = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
};

let folder: string | undefined;
let running: TestClusters | undefined;

/** The running clusters. Only valid between the root hooks. */
export function clusters(): TestClusters {
  if (running === undefined)
    throw new Error('the test clusters are not running: is test/support/hooks.ts loaded?');
  return running;
}

/** The folder of this run's data, for tests that look into server logs. */
export function clustersFolder(): string {
  if (folder === undefined) throw new Error('the test clusters are not running');
  return folder;
}

/** Harmless when they run already. */
export async function startTestClusters(settings: Record<string, string> = TEST_SETTINGS): Promise<void> {
  if (running !== undefined) return;
  folder = makeServersFolder();
  const [registry, eu, us] = await Promise.all(
    NAMES.map((name) => startTestCluster(join(folder ?? '', name), 0, settings)),
  );
  if (registry === undefined || eu === undefined || us === undefined) throw new Error('a cluster is missing');
  running = { registry, eu, us };
}

/** One cluster of its own, for tests that stop or break their server. */
export function startTestCluster(
  clusterFolder: string,
  port = 0,
  settings: Record<string, string> = TEST_SETTINGS,
): Promise<Cluster> {
  let password: string | undefined;
  return startCluster({
    folder: clusterFolder,
    port,
    loadPassword: () => password,
    savePassword: (made) => {
      password = made;
    },
    settings,
  });
}
