import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DescribeDBInstancesCommand, DescribeDBSnapshotsCommand } from '@aws-sdk/client-rds';
import { ListSecretsCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { startCluster } from '../../control-plane/servers/providers/cluster.ts';
import { dataFiles, type Config } from '../../platform/config.ts';
import { addressUrl, parseAddress, withClient } from '../../platform/pg.ts';
import { projectRoot } from '../../platform/project.ts';
import { hasMoto, MOTO_CREDENTIALS, startMoto, type Moto } from '../launcher/moto.ts';
import { MOTO_SITE, motoRdsClient, prepareSite } from '../launcher/moto-site.ts';
import { claim, ClaimError, expect } from './stage.ts';
import { startTraffic } from './traffic.ts';
import { run, TENANTS, tenants, visit, type World } from './world.ts';

const FLEET_NAME = 'flotilla';
/** The tenant with a server of its own. */
const ENTERPRISE = 'kite';
/** Where in AWS the demo's regions are. */
const AWS_REGIONS: Record<string, string> = { eu: 'eu-central-1', us: 'us-east-1' };

/** Starts an emulated AWS, which it installs where Python is. @throws ClaimError where there is none */
export async function startAws(): Promise<Moto> {
  const install = join(projectRoot(), 'scripts', 'moto.mjs');
  spawnSync(process.execPath, [install], { stdio: ['ignore', process.stderr, process.stderr] });
  if (hasMoto()) return startMoto();
  throw new ClaimError(
    'there is no emulated AWS: it needs Python 3.10 or later with venv; without --aws the demo needs neither',
  );
}

/** What makes every program of a fleet keep and read its secrets there. */
export function awsEnvironment(moto: Moto): NodeJS.ProcessEnv {
  return {
    AWS_ENDPOINT_URL: moto.url,
    AWS_ACCESS_KEY_ID: MOTO_CREDENTIALS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: MOTO_CREDENTIALS.secretAccessKey,
    FLEET_SECRET_STORE: 'aws',
    FLEET_NAME,
    FLEET_AWS_REGIONS: Object.entries(AWS_REGIONS)
      .map((pair) => pair.join('='))
      .join(','),
  };
}

/**
 * Prepares what Terraform prepares for servers on RDS, and starts a PostgreSQL to stand for the instance that the
 * demo makes: RDS is emulated, and there is no server behind what it tells of. It stops with the fleet's own.
 */
export async function serversOnAws(moto: Moto, config: Config): Promise<NodeJS.ProcessEnv> {
  const { clusters } = dataFiles(config.dataDir);
  mkdirSync(clusters, { recursive: true, mode: 0o711 });
  const password: { made?: string } = {};
  const [{ superuser }] = await Promise.all([
    startCluster({
      folder: join(clusters, 'stand-in-for-rds'),
      loadPassword: () => password.made,
      savePassword: (made) => {
        password.made = made;
      },
    }),
    prepareSite(moto),
  ]);
  const instance = `${FLEET_NAME}-${serverOf(ENTERPRISE)}`;
  return {
    FLEET_RDS_SITES: JSON.stringify({ eu: MOTO_SITE }),
    FLEET_RDS_ENDPOINT_MAP: JSON.stringify({ [instance]: addressUrl(superuser) }),
  };
}

/** What the server of one tenant alone is called. */
function serverOf(slug: string): string {
  return `tenant-${slug}`;
}

/** An enterprise tenant gets a server of its own on RDS, which goes with it. */
export async function ownServer(world: World, moto: Moto): Promise<void> {
  const client = motoRdsClient(moto);
  const instances = async () => (await client.send(new DescribeDBInstancesCommand({}))).DBInstances ?? [];
  await claim('an enterprise tenant is made with an instance of its own, encrypted and marked', async () => {
    const made = await run(world, 'tenant', 'create', ENTERPRISE, '--region', 'eu', '--tier', 'enterprise');
    expect(made.code === 0, `creating ${ENTERPRISE} ended with ${made.code}: ${made.stderr}`);
    const [instance, ...others] = await instances();
    expect(instance !== undefined && others.length === 0, 'there is not one instance on RDS');
    expect(instance.StorageEncrypted === true, 'it is not encrypted');
    expect(
      (instance.TagList ?? []).some(({ Key, Value }) => Key === 'fleet:fleet' && Value === FLEET_NAME),
      'it does not say whose it is',
    );
  });
  await claim(`${ENTERPRISE} is served from it`, async () => {
    const reply = await visit(world, ENTERPRISE, '/api/v1/whoami');
    expect(reply.status === 200, `whoami answered ${reply.status}`);
    const own = (await tenants(world)).find(({ slug }) => slug === ENTERPRISE);
    expect(own?.server === serverOf(ENTERPRISE), `it is on ${own?.server}`);
  });
  await claim('it is deleted with its tenant, and a last snapshot is kept', async () => {
    const gone = await run(world, 'tenant', 'delete', ENTERPRISE, '--confirm', ENTERPRISE);
    expect(gone.code === 0, `deleting ${ENTERPRISE} ended with ${gone.code}: ${gone.stderr}`);
    expect((await instances()).length === 0, 'the instance is still there');
    const { DBSnapshots = [] } = await client.send(
      new DescribeDBSnapshotsCommand({ SnapshotType: 'manual' }),
    );
    expect(DBSnapshots.length === 1, `there are ${DBSnapshots.length} snapshots`);
  });
  client.destroy();
}

/** Credentials are in AWS, each in its region; they rotate while they are used. */
export async function secretsOnAws(world: World, moto: Moto): Promise<void> {
  await claim('each tenant has a secret in its own region of AWS, and nowhere else', async () => {
    const names = new Map<string, string[]>();
    for (const region of Object.keys(AWS_REGIONS)) names.set(region, await secretNames(moto, region));
    for (const { id, slug, region } of await tenants(world)) {
      const places = [...names].filter(([, known]) => known.some((name) => name.includes(`tenant-${id}/`)));
      expect(
        places.length === 1 && places[0]?.[0] === region,
        `${slug} of ${region} has secrets in ${places.map(([place]) => place).join(', ')}`,
      );
    }
  });
  await claim('the registry holds not one password of a tenant, sealed or not', async () => {
    const address = parseAddress(readFileSync(dataFiles(world.folder).registryUrl, 'utf8').trim());
    const { rows } = await withClient(address, { applicationName: 'demo' }, (client) =>
      client.query(`SELECT 1 FROM sealed_secrets s JOIN secret_versions v ON v.id = s.version_id
                     WHERE v.owner LIKE 'tenant:%'`),
    );
    expect(rows.length === 0, `it holds ${rows.length}`);
  });
  const traffic = startTraffic(world);
  await claim('two tenants get new credentials while they are used', async () => {
    for (const { slug } of TENANTS.filter((tenant) => tenant.canary)) {
      const rotated = await run(world, 'secret', 'rotate', slug, '--wait');
      expect(rotated.code === 0, `rotating ${slug} ended with ${rotated.code}: ${rotated.stderr}`);
    }
  });
  const { answered, failed } = await traffic.stop();
  await claim(`nobody has noticed: ${answered} requests, ${failed.length} failed`, () => {
    expect(answered > 0 && failed.length === 0, failed.slice(0, 3).join('; '));
  });
}

async function secretNames(moto: Moto, region: string): Promise<string[]> {
  const client = new SecretsManagerClient({
    endpoint: moto.url,
    credentials: MOTO_CREDENTIALS,
    ...(AWS_REGIONS[region] === undefined ? {} : { region: AWS_REGIONS[region] }),
  });
  const { SecretList = [] } = await client.send(new ListSecretsCommand({ MaxResults: 100 }));
  client.destroy();
  return SecretList.map(({ Name = '' }) => Name);
}
