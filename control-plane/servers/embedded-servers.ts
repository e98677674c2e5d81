import type { Logger } from '../../platform/logging.ts';
import type { Registry, Subscription } from '../registry/registry.ts';
import { embeddedProvider, holdsCluster, stopEmbedded, type EmbeddedDeps } from './providers/embedded.ts';
import type { ServerRecord } from './server.ts';
import { listLiveServers, listRetiredServers, RETIRED_CHANNEL, setEndpoint, setHealth } from './store.ts';

export interface EmbeddedServersDeps extends EmbeddedDeps {
  registry: Registry;
  logger: Logger;
}

/**
 * Brings the clusters of this machine to what the registry says: live ones are started, or adopted where they
 * run already, retired ones stopped. One that does not start is marked unreachable and holds up nobody else.
 * Data that is not on this machine is never made anew: an empty cluster would look like lost tenants.
 */
export async function ensureEmbeddedServers(deps: EmbeddedServersDeps): Promise<void> {
  await stopRetired(deps);
  const live = await listLiveServers(deps.registry, 'embedded');
  const health = await Promise.all(live.map((server) => ensureRunning(deps, server)));
  await setHealth(deps.registry, health);
}

/**
 * Stops this machine's clusters as their servers are retired, from now on: PostgreSQL tells every process at the
 * commit of the removal. What was missed while the connection was down is made good when it is back.
 */
export async function stopAsRetired(deps: EmbeddedServersDeps): Promise<Subscription> {
  let last = Promise.resolve();
  const subscription = await deps.registry.listen(RETIRED_CHANNEL, () => {
    last = last
      .then(() => stopRetired(deps))
      .catch((error: unknown) => {
        deps.logger.warn('a retired server was not stopped', { error });
      });
  });
  return {
    close: async () => {
      await subscription.close();
      await last;
    },
  };
}

/** Those that do not run, or whose data is elsewhere, cost a look at a file. */
async function stopRetired(deps: EmbeddedServersDeps): Promise<void> {
  const retired = await listRetiredServers(deps.registry, 'embedded');
  await Promise.all(retired.map((server) => stopEmbedded(deps, server)));
}

async function ensureRunning(deps: EmbeddedServersDeps, server: ServerRecord) {
  const { id, name } = server;
  if (!holdsCluster(deps, server)) {
    deps.logger.error('the data of an embedded server is not on this machine', { server: name });
    return { id, reachable: false, serverVersion: null };
  }
  try {
    const { host, port } = await embeddedProvider(deps, server).open();
    const moved = await deps.registry.transaction((tx) => setEndpoint(tx, id, { host, port }));
    if (moved) deps.logger.info('an embedded server has a new address', { server: name, host, port });
    return { id, reachable: true, serverVersion: null };
  } catch (error) {
    deps.logger.error('an embedded server did not start', { server: name, error });
    return { id, reachable: false, serverVersion: null };
  }
}
