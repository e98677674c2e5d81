import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Server } from '../../contract/server.ts';
import type { Rollout } from '../../contract/rollout.ts';
import type { Tenant } from '../../contract/tenant.ts';
import { loadMasterKey } from '../../control-plane/secrets/keys/master-key.ts';
import { embeddedProvider } from '../../control-plane/servers/providers/embedded.ts';
import { dataFiles, loadConfig, type Config } from '../../platform/config.ts';
import { withClient } from '../../platform/pg.ts';
import { projectRoot } from '../../platform/project.ts';
import type { Fleet } from '../launcher/launch.ts';
import { fleet, fleetJson, expect, type CliResult, type Reply, ask } from './stage.ts';

/** What all chapters of the demo share: a fleet in a throw-away folder. */
export interface World {
  folder: string;
  config: Config;
  fleet: Fleet;
}

/** The demo's cast: five tenants in each region, one of each goes first. */
export const TENANTS = [
  { slug: 'acme', region: 'eu', canary: true },
  { slug: 'birch', region: 'eu', canary: false },
  { slug: 'cedar', region: 'eu', canary: false },
  { slug: 'delta', region: 'eu', canary: false },
  { slug: 'ember', region: 'eu', canary: false },
  { slug: 'falcon', region: 'us', canary: true },
  { slug: 'garnet', region: 'us', canary: false },
  { slug: 'hazel', region: 'us', canary: false },
  { slug: 'indigo', region: 'us', canary: false },
  { slug: 'jasper', region: 'us', canary: false },
];

/** A folder and ports of its own: a demo disturbs no fleet that runs beside it. */
export function demoConfig(env: NodeJS.ProcessEnv): Config {
  const { FLEET_REGISTRY_URL: _registry, FLEET_APP_URLS: _urls, ...rest } = env;
  return loadConfig({
    ...rest,
    FLEET_DATA_DIR: mkdtempSync(join(tmpdir(), 'flotilla-demo-')),
    FLEET_PORT: '0',
    FLEET_APP_PORT: '0',
    FLEET_REGIONS: 'eu,us',
    FLEET_DEMO: 'off',
  });
}

/** Runs the CLI in the demo's folder, and answers how it ended. */
export function run(world: World, ...args: string[]): Promise<CliResult> {
  return fleet(world.folder, args);
}

/** All tenants, as the CLI lists them. */
export async function tenants(world: World): Promise<Tenant[]> {
  return await fleetJson<Tenant[]>(world.folder, ['tenant', 'list']);
}

/** The newest rollout, as the CLI shows it. */
export function latestRollout(world: World): Promise<Rollout> {
  return fleetJson<Rollout>(world.folder, ['rollout', 'get', 'latest']);
}

/** A request of a tenant's user, at the app of `region` (their own by default). */
export function visit(
  world: World,
  slug: string,
  path: string,
  body?: { method: string; json: unknown; headers?: Record<string, string> },
  region?: string,
): Promise<Reply> {
  const home = TENANTS.find((known) => known.slug === slug)?.region ?? 'eu';
  const app = world.fleet.apps.get(region ?? home);
  expect(app !== undefined, `there is no app for ${region ?? home}`);
  return ask(app.url, `${slug}.${home}.localhost`, path, body);
}

/** Publishes the tenants' schema with the first `count` of the demo's migrations on top of it. */
export async function publish(world: World, count: number, name: string): Promise<CliResult> {
  const folder = join(world.folder, `migrations-${name}`);
  cpSync(join(projectRoot(), 'migrations', 'tenant'), folder, { recursive: true });
  for (let number = 1; number <= count; number++) {
    cpSync(join(projectRoot(), 'scripts', 'demo', `migrations-${number}`), folder, { recursive: true });
  }
  return await run(world, 'release', 'publish', folder, '--name', name);
}

/** Writes the plan of a rollout: canaries first, then everyone, so many at a time. */
export function rolloutFile(world: World, release: string, parallel: number): string {
  const file = join(world.folder, `rollout-${release}.yaml`);
  writeFileSync(
    file,
    [
      `release: "${release}"`,
      'waves:',
      '  - name: canary',
      '    match: { labels: { canary: "true" } }',
      '  - name: everyone',
      `    parallel: ${parallel}`,
      '    budget: { failures: 0 }',
      '',
    ].join('\n'),
  );
  return file;
}

/** Migrations that some database has recorded more than once; asked of the databases themselves. */
export async function appliedTwice(world: World): Promise<string[]> {
  const servers = await fleetJson<Server[]>(world.folder, ['server', 'list']);
  const all = await tenants(world);
  const found: string[] = [];
  for (const { slug, server, database } of all) {
    const record = servers.find((one) => one.name === server);
    expect(record !== undefined && database !== null, `${slug} has no database`);
    const superuser = await superuserOf(world, record);
    const { rows } = await withClient({ ...superuser, database }, { applicationName: 'demo' }, (client) =>
      client.query<{ name: string }>('SELECT name FROM pgmigrations GROUP BY name HAVING count(*) > 1'),
    );
    found.push(...rows.map(({ name }) => `${slug}: ${name}`));
  }
  return found;
}

function superuserOf(world: World, server: { id: string; name: string }) {
  const files = dataFiles(world.config.dataDir);
  const deps = { clustersFolder: files.clusters, masterKey: loadMasterKey(files.masterKey) };
  return embeddedProvider(deps, server).open();
}

/** Removes the throw-away data folder. Harmless when it is gone. */
export function removeFolder(config: Config): void {
  rmSync(config.dataDir, { recursive: true, force: true });
}
