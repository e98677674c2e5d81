import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from '../../platform/logging.ts';
import { clientConfig, parseAddress } from '../../platform/pg.ts';
import type { Registry } from '../registry/registry.ts';
import { insertWorker, removeWorker } from './worker-store.ts';

/** Time between attempts to get the lock back after its connection broke. */
const RETRY_MS = 1_000;

export interface Pulse {
  announce(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * The sign of life: a session-level advisory lock. It is free the moment this process or its connection is
 * gone. When only the connection broke, it is taken again with the same key.
 */
export async function startPulse(
  registry: Registry,
  logger: Logger,
  id: string,
  queueIds: string[],
): Promise<Pulse> {
  const key = randomBytes(8).readBigInt64BE().toString();
  let stopped = false;
  let client: pg.Client | undefined;

  const connect = async (): Promise<void> => {
    const next = new pg.Client(clientConfig(parseAddress(registry.url), { applicationName: 'fleet-worker' }));
    next.on('error', (error: Error) => logger.warn("the worker's sign of life was interrupted", { error }));
    await next.connect();
    await next.query('SELECT pg_advisory_lock($1::bigint)', [key]);
    next.once('end', () => {
      if (!stopped) void reconnect();
    });
    client = next;
  };
  const announce = (): Promise<void> =>
    insertWorker(registry, { id, key, host: hostname(), pid: process.pid, queueIds });
  const reconnect = async (): Promise<void> => {
    while (!stopped) {
      try {
        await connect();
        // Others may have taken us for dead and removed the row.
        await announce();
        return;
      } catch (error) {
        logger.warn('the sign of life cannot be renewed yet', { error });
        await wait(RETRY_MS);
      }
    }
  };
  await connect();
  await announce();
  return {
    announce,
    stop: async () => {
      stopped = true;
      await removeWorker(registry, id);
      await client?.end();
    },
  };
}
