import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { Release } from '../../contract/release.ts';
import { Server, type CreateServer } from '../../contract/server.ts';
import { Tenant, type CreateTenant } from '../../contract/tenant.ts';
import type { Client } from '../../fleet-cli/client.ts';
import { CliError } from '../../fleet-cli/errors.ts';
import { renderMigrations } from '../../fleet-cli/release/render.ts';
import { writePrivate } from '../../platform/files.ts';
import { projectRoot } from '../../platform/project.ts';
import { waitForOperation } from './api.ts';

type NewTenant = Pick<z.input<typeof CreateTenant>, 'slug' | 'name' | 'tier' | 'labels'>;

/**
 * Twelve customers that look like a fleet: most on shared servers, one with a server of its own, one in each
 * region that takes changes first. The first half lives in the first region, the second in the second.
 */
const TENANTS: NewTenant[] = [
  { slug: 'alder-bank', name: 'Alder Bank', tier: 'premium' },
  { slug: 'birch-clinic', name: 'Birch Clinic', tier: 'standard', labels: { canary: 'true' } },
  { slug: 'cedar-foods', name: 'Cedar Foods', tier: 'standard' },
  { slug: 'dune-travel', name: 'Dune Travel', tier: 'standard' },
  { slug: 'elm-school', name: 'Elm School', tier: 'standard' },
  { slug: 'fjord-energy', name: 'Fjord Energy', tier: 'enterprise' },
  { slug: 'granite-law', name: 'Granite Law', tier: 'premium' },
  { slug: 'harbor-freight', name: 'Harbor Freight', tier: 'premium' },
  { slug: 'iris-media', name: 'Iris Media', tier: 'standard', labels: { canary: 'true' } },
  { slug: 'juniper-retail', name: 'Juniper Retail', tier: 'standard' },
  { slug: 'kestrel-air', name: 'Kestrel Air', tier: 'standard' },
  { slug: 'lumen-labs', name: 'Lumen Labs', tier: 'standard' },
];

/** Publishes the tenants' schema as the first release, so that a tenant can be made. Does nothing later on. */
export async function publishFirstRelease(client: Client): Promise<void> {
  const known = await client.list('/api/v1/releases', Release, {}, 1);
  if (known.length > 0) return;
  const migrations = await renderMigrations(join(projectRoot(), 'migrations', 'tenant'));
  await client.send({ method: 'POST', path: '/api/v1/releases', body: { migrations } }, z.unknown());
}

/** Gives each region that has no server an embedded one, so that tenants have a place. */
export async function makeRegionServers(client: Client, regions: string[]): Promise<void> {
  const servers = await client.list('/api/v1/servers', Server);
  const bare = regions.filter((region) => !servers.some((server) => server.region === region));
  await Promise.all(bare.map((region) => makeServer(client, `${region}-1`, region, 'shared')));
}

/**
 * Makes the demo tenants, once in a data folder's life: not when the fleet has tenants of its own. A start
 * that was interrupted in between is finished by the next one.
 */
export async function makeDemoFleet(client: Client, dataDir: string, regions: string[]): Promise<void> {
  const mark = join(dataDir, 'demo-fleet');
  const state = existsSync(mark) ? readFileSync(mark, 'utf8').trim() : 'none';
  if (state === 'made') return;
  const tenants = await client.list('/api/v1/tenants', Tenant, { includeDeleted: true }, 1);
  if (state === 'making' || tenants.length === 0) {
    writePrivate(mark, 'making\n');
    await makeTenants(client, regions);
  }
  writePrivate(mark, 'made\n');
}

async function makeTenants(client: Client, regions: string[]): Promise<void> {
  const placed = TENANTS.map((tenant, index) => ({
    ...tenant,
    region: regions[Math.floor((index * Math.min(regions.length, 2)) / TENANTS.length)] ?? '',
  }));
  const dedicated = placed.filter((tenant) => tenant.tier === 'enterprise');
  const shared = placed.filter((tenant) => tenant.tier !== 'enterprise');
  await Promise.all([
    Promise.all(shared.map((tenant) => create(client, '/api/v1/tenants', tenant))),
    Promise.all(dedicated.map((tenant) => makeWithServer(client, tenant))),
  ]);
}

async function makeWithServer(client: Client, tenant: NewTenant & { region: string }): Promise<void> {
  await makeServer(client, `${tenant.region}-${tenant.slug}`, tenant.region, 'dedicated');
  await create(client, '/api/v1/tenants', tenant);
}

async function makeServer(
  client: Client,
  name: string,
  region: string,
  mode: 'shared' | 'dedicated',
): Promise<void> {
  const server: z.input<typeof CreateServer> = { name, region, provider: 'embedded', mode };
  await create(client, '/api/v1/servers', server);
}

/** Creates and waits. What is there from an interrupted start is left as it is: its operation goes on by itself. */
async function create(client: Client, collection: string, body: object): Promise<void> {
  try {
    const { operationId } = await client.send({ method: 'POST', path: collection, body }, z.unknown());
    if (operationId !== undefined) await waitForOperation(client, operationId);
  } catch (error) {
    const exists = error instanceof CliError && EXISTS.has(error.code);
    if (!exists) throw error;
  }
}

const EXISTS = new Set(['slug_taken', 'server_name_taken']);
