import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadMasterKey, openFile, sealFile } from '../../control-plane/secrets/keys/master-key.ts';
import { startCluster, stopCluster } from '../../control-plane/servers/providers/cluster.ts';
import { dataFiles } from '../../platform/config.ts';
import { randomPassword, scramVerifier } from '../../platform/crypto.ts';
import { writePrivate } from '../../platform/files.ts';
import {
  addressUrl,
  parseAddress,
  quoteIdent,
  quoteLiteral,
  withClient,
  type PgAddress,
  type PgClient,
} from '../../platform/pg.ts';

/** Role and database have one name; the role owns its database and nothing else. */
const REGISTRY = 'fleet_registry';
const SESSION = { applicationName: 'fleet-start' };

/**
 * Starts (or adopts) the embedded PostgreSQL that holds the registry, and writes the registry's URL into its
 * 0600 file. The superuser's password is sealed with the master key; programs only know the registry's role.
 */
export async function startRegistryCluster(dataDir: string): Promise<void> {
  const files = dataFiles(dataDir);
  const masterKey = loadMasterKey(files.masterKey);
  const folder = join(files.clusters, 'registry');
  const sealed = join(folder, 'superuser.sealed');
  mkdirSync(files.clusters, { recursive: true, mode: 0o711 });
  const { superuser } = await startCluster({
    folder,
    loadPassword: () => openFile(masterKey, sealed, folder),
    savePassword: (password) => sealFile(masterKey, sealed, folder, password),
  });
  const address = await ensureDatabase(superuser, knownPassword(files.registryUrl));
  writePrivate(files.registryUrl, `${addressUrl(address)}\n`);
}

/** Stops every PostgreSQL below the data folder: the registry's and those of the embedded servers. */
export async function stopClusters(dataDir: string): Promise<void> {
  const { clusters } = dataFiles(dataDir);
  if (!existsSync(clusters)) return;
  await Promise.all(readdirSync(clusters).map((name) => stopCluster(join(clusters, name))));
}

function knownPassword(file: string): string | undefined {
  if (!existsSync(file)) return undefined;
  const { user, password } = parseAddress(readFileSync(file, 'utf8').trim());
  return user === REGISTRY ? password : undefined;
}

async function ensureDatabase(superuser: PgAddress, known: string | undefined): Promise<PgAddress> {
  const password = known ?? randomPassword();
  const address = { ...superuser, user: REGISTRY, password, database: REGISTRY };
  if (known !== undefined && (await opens(address))) return address;
  await withClient(superuser, SESSION, async (client) => {
    await ensureRole(client, password);
    const { rows } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [REGISTRY]);
    if (rows.length === 0) {
      await client.query(`CREATE DATABASE ${quoteIdent(REGISTRY)} OWNER ${quoteIdent(REGISTRY)}`);
    }
    for (const database of ['postgres', 'template1', REGISTRY]) {
      await client.query(`REVOKE ALL ON DATABASE ${quoteIdent(database)} FROM PUBLIC`);
    }
  });
  return address;
}

async function ensureRole(client: PgClient, password: string): Promise<void> {
  const { rows } = await client.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [REGISTRY]);
  const verb = rows.length === 0 ? 'CREATE' : 'ALTER';
  await client.query(
    `${verb} ROLE ${quoteIdent(REGISTRY)} LOGIN PASSWORD ${quoteLiteral(scramVerifier(password))}`,
  );
}

async function opens(address: PgAddress): Promise<boolean> {
  try {
    await withClient(address, SESSION, (client) => client.query('SELECT 1'));
    return true;
  } catch {
    // Wrong password or no such database: both are mended by the superuser.
    return false;
  }
}
