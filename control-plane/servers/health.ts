import { setTimeout as wait } from 'node:timers/promises';
import PQueue from 'p-queue';
import type { Logger } from '../../platform/logging.ts';
import { withClient, type PgClient } from '../../platform/pg.ts';
import { findOpenOperation } from '../operations/store.ts';
import type { Registry } from '../registry/registry.ts';
import type { Secrets } from '../secrets/secret.ts';
import { noteRetired } from '../secrets/store.ts';
import type { ServerAccess } from './access.ts';
import { migratorSubject, serverSubject, type ServerRecord } from './server.ts';
import { listLiveServers, setHealth, type ServerHealth } from './store.ts';

export interface HealthDeps {
  registry: Registry;
  secrets: Secrets;
  servers: ServerAccess;
  logger: Logger;
}

/** A check is 15 ms of waiting for the network; 16 at once see 1,000 servers in a second or two. */
const CHECKS_AT_ONCE = 16;
/** A server that accepts connections but answers nothing for 5 s serves nobody. */
const ANSWER_TIMEOUT_MS = 5_000;

/**
 * Asks every live server as its admin over a new connection, and stores who answered. Once the admin has
 * proved itself, the credential before it is destroyed: that of the superuser that the server was registered with, or one
 * that a rotation has replaced.
 */
export async function checkServers(deps: HealthDeps): Promise<void> {
  const live = await listLiveServers(deps.registry, null);
  const queue = new PQueue({ concurrency: CHECKS_AT_ONCE });
  const results = await queue.addAll(live.map((server) => () => checkServer(deps, server)));
  await setHealth(deps.registry, results);
}

async function checkServer(deps: HealthDeps, server: ServerRecord): Promise<ServerHealth> {
  const { id, name } = server;
  try {
    const address = await deps.servers.address(id, server.adminDatabase);
    const serverVersion = await withClient(address, { applicationName: 'fleet-health' }, answerInTime);
    await forgetReplaced(deps, server);
    if (!server.reachable) deps.logger.info('a server answers again', { server: name });
    return { id, reachable: true, serverVersion };
  } catch (error) {
    if (server.reachable) deps.logger.warn('a server does not answer', { server: name, error });
    return { id, reachable: false, serverVersion: null };
  }
}

async function answerInTime(client: PgClient): Promise<number> {
  const over = new AbortController();
  const tooLate = wait(ANSWER_TIMEOUT_MS, undefined, { signal: over.signal }).then(() => {
    throw new Error(`no answer within ${ANSWER_TIMEOUT_MS} ms`);
  });
  const answer = client.query<{ version: number }>(
    "SELECT current_setting('server_version_num')::int AS version",
  );
  // The loser of the race ends with the connection or the timer, and nobody listens to it any more.
  answer.catch(() => undefined);
  tooLate.catch(() => undefined);
  try {
    const { rows } = await Promise.race([answer, tooLate]);
    return rows[0]?.version ?? 0;
  } finally {
    over.abort();
  }
}

/** Not while an operation on the server is open: it may have to be undone, which takes the superuser. */
async function forgetReplaced(deps: HealthDeps, { id, adminUser }: ServerRecord): Promise<void> {
  for (const subject of [serverSubject(id), migratorSubject(id)]) {
    const previous = await deps.secrets.previous(deps.registry, subject);
    if (previous === undefined) continue;
    await deps.registry.transaction(async (tx) => {
      if ((await findOpenOperation(tx, serverSubject(id))) !== undefined) return;
      await deps.secrets.destroyVersion(tx, previous.versionId);
      const taken = subject === serverSubject(id) && previous.login !== adminUser;
      await noteRetired(tx, previous.versionId, taken ? SUPERUSER_GONE : ROTATED);
    });
  }
}

/** Why a version is retired, as `fleet secret get` tells it. */
const SUPERUSER_GONE = "the fleet's own admin has taken its place";
const ROTATED = 'its login has another password';
