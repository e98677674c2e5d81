import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FleetError } from '../../../platform/errors.ts';
import { openFile, sealFile, type MasterKey } from '../../secrets/keys/master-key.ts';
import { startCluster, stopCluster } from './cluster.ts';
import type { Provider } from './provider.ts';

export interface EmbeddedDeps {
  /** Folder with one cluster's folder per server, named after it. */
  clustersFolder: string;
  clusterSettings?: Record<string, string>;
  masterKey: MasterKey;
}

/**
 * Tenants' connection limits are ceilings that few reach at once: 5,000 are room for 500 standard tenants and cost
 * 110 MB of memory more than 400 would. The lock table grows with it, so that a quarter of its share suffices.
 */
const SETTINGS = { max_connections: '5000', max_locks_per_transaction: '16' };

/** Says whose cluster a folder holds: names are used again, data must never be. */
const OWNER_FILE = 'server.id';
/** The same in the folder of the registry's cluster. */
const PASSWORD_FILE = 'superuser.sealed';

/** A local PostgreSQL of the fleet's own. Its superuser's password is sealed in a 0600 file beside the data. */
export function embeddedProvider(deps: EmbeddedDeps, server: { id: string; name: string }): Provider {
  const folder = clusterFolder(deps, server.name);
  const passwordFile = join(folder, PASSWORD_FILE);
  const purpose = purposeOf(server.id);
  return {
    open: async () => {
      claimFolder(folder, server);
      const cluster = await startCluster({
        folder,
        loadPassword: () => openFile(deps.masterKey, passwordFile, purpose),
        savePassword: (password) => sealFile(deps.masterKey, passwordFile, purpose, password),
        settings: { ...SETTINGS, ...deps.clusterSettings },
      });
      return cluster.superuser;
    },
    discard: async () => {
      // Moved aside first: a deletion that is cut short must not leave a folder that nobody owns.
      const gone = `${folder}.${server.id}.gone`;
      if (holdsCluster(deps, server)) {
        await stopCluster(folder, 'immediate');
        renameSync(folder, gone);
      }
      rmSync(gone, { recursive: true, force: true });
      rmSync(unclaimed(folder, server.id), { recursive: true, force: true });
    },
  };
}

/** Stops the server's postmaster, if it runs on this machine; the data stays. */
export async function stopEmbedded(deps: EmbeddedDeps, server: { id: string; name: string }): Promise<void> {
  if (holdsCluster(deps, server)) await stopCluster(clusterFolder(deps, server.name));
}

/**
 * The superusers' passwords of all clusters on this machine. The registry's own cluster is no server: its password is
 * bound to its folder (scripts/launcher/registry-cluster.ts).
 */
export function sealedFiles({
  clustersFolder,
}: Pick<EmbeddedDeps, 'clustersFolder'>): { file: string; purpose: string }[] {
  if (!existsSync(clustersFolder)) return [];
  return readdirSync(clustersFolder).map((name) => {
    const folder = join(clustersFolder, name);
    const id = ownerOf(folder);
    return { file: join(folder, PASSWORD_FILE), purpose: id === undefined ? folder : purposeOf(id) };
  });
}

function purposeOf(serverId: string): string {
  return `superuser of server ${serverId}`;
}

/** Whether this machine holds the data of this very server. */
export function holdsCluster(deps: EmbeddedDeps, server: { id: string; name: string }): boolean {
  return ownerOf(clusterFolder(deps, server.name)) === server.id;
}

function clusterFolder(deps: EmbeddedDeps, name: string): string {
  return join(deps.clustersFolder, name);
}

function ownerOf(folder: string): string | undefined {
  const file = join(folder, OWNER_FILE);
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined;
}

function unclaimed(folder: string, serverId: string): string {
  return `${folder}.${serverId}.new`;
}

function claimFolder(folder: string, server: { id: string; name: string }): void {
  if (!existsSync(folder)) {
    // Made aside and moved into place, so that a folder never stands there without its owner's id.
    const aside = unclaimed(folder, server.id);
    mkdirSync(aside, { recursive: true, mode: 0o700 });
    writeFileSync(join(aside, OWNER_FILE), `${server.id}\n`, { mode: 0o600 });
    renameSync(aside, folder);
    return;
  }
  if (ownerOf(folder) === server.id) return;
  throw new FleetError({
    code: 'cluster_folder_taken',
    status: 409,
    message: `the folder ${folder} exists and belongs to something else`,
    fix: 'move it away if its data is no longer needed, or choose another name for the server',
  });
}
