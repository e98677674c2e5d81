import { randomBytes } from 'node:crypto';
import { makeWorkerUtils, Logger as QueueLogger } from 'graphile-worker';
import { migrateRegistry, openRegistry, type Registry } from '../../control-plane/registry/registry.ts';
import { createLogger } from '../../platform/logging.ts';
import { addressUrl, quoteIdent, withClient } from '../../platform/pg.ts';
import { clusters } from './clusters.ts';
import { recordingLogger } from './recording-logger.ts';
import { isScanned, keepEvidence } from './secret-scan.ts';

export interface TestRegistry {
  registry: Registry;
  url: string;
  drop(): Promise<void>;
}

const TEMPLATE = 'fleet_registry_template';
let template: Promise<void> | undefined;

/** What the end of the run looks through for secrets. */
export const testLog = { write: (line: string): void => keepEvidence('log', line) };

/** Into what the end of the run looks through for secrets; with FLEET_LOG_LEVEL, to the terminal. */
export const quietLogger =
  process.env.FLEET_LOG_LEVEL === undefined && isScanned()
    ? recordingLogger(testLog.write)
    : createLogger('test', process.env.FLEET_LOG_LEVEL ?? 'silent');

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
      if (isScanned()) keepEvidence('registry', await dump(registry));
      await registry.close();
      await onCluster(`DROP DATABASE IF EXISTS ${quoteIdent(name)} WITH (FORCE)`);
    },
  };
}

/** All rows of all tables, as text. */
async function dump(registry: Registry): Promise<string> {
  const { rows: tables } = await registry.query<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
     WHERE schemaname IN ('public', 'graphile_worker')`,
  );
  const rows = tables.map(({ name }) => `SELECT t::text AS row FROM ${name} t`).join(' UNION ALL ');
  const { rows: dumped } = await registry.query<{ row: string }>(rows);
  return dumped.map(({ row }) => row).join('\n');
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
