import { randomBytes } from 'node:crypto';
import { makeWorkerUtils, Logger as QueueLogger } from 'graphile-worker';
import { migrateRegistry, openRegistry, type Registry } from '../../control-plane/registry/registry.ts';
import { createLogger } from '../../platform/logging.ts';
import { addressUrl, quoteIdent, withClient } from '../../platform/pg.ts';
import { clusters } from './clusters.ts';

export interface TestRegistry {
  registry: Registry;
  url: string;
  drop(): Promise<void>;
}

const TEMPLATE = 'fleet_registry_template';
let template: Promise<void> | undefined;

export const quietLogger = createLogger('test', process.env.FLEET_LOG_LEVEL ?? 'silent');

/** A migrated registry database of its own, copied from a template that is made once per run. */
export async function freshRegistry(): Promise<TestRegistry> {
  template ??= makeTemplate();
  await template;
  const name = `fleet_registry_${randomBytes(6).toString('hex')}`;
  await onCluster(`CREATE DATABASE ${quoteIdent(name)} TEMPLATE ${quoteIdent(TEMPLATE)}`);
  const url = registryUrlOf(name);
  const registry = openRegistry(url, quietLogger);
  return {
    registry,
    url,
    drop: async () => {
      await registry.close();
      await onCluster(`DROP DATABASE IF EXISTS ${quoteIdent(name)} WITH (FORCE)`);
    },
  };
}

async function makeTemplate(): Promise<void> {
  await onCluster(`CREATE DATABASE ${quoteIdent(TEMPLATE)}`);
  const registry = openRegistry(registryUrlOf(TEMPLATE), quietLogger);
  await migrateRegistry(registry);
  const queue = await makeWorkerUtils({
    connectionString: registry.url,
    logger: new QueueLogger(() => () => undefined),
  });
  await queue.migrate();
  await queue.release();
  await registry.close();
}

function registryUrlOf(database: string): string {
  return addressUrl({ ...clusters().registry.superuser, database });
}

async function onCluster(sql: string): Promise<void> {
  await withClient(clusters().registry.superuser, { applicationName: 'test' }, (client) => client.query(sql));
}
