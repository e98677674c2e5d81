import { existsSync, readFileSync } from 'node:fs';
import type { Config } from '../platform/config.ts';
import { dataFiles } from '../platform/config.ts';
import { FleetError } from '../platform/errors.ts';
import { writePrivate } from '../platform/files.ts';
import { authenticate } from './access/authenticate.ts';
import { SYSTEM_CALLER, type Asker } from './access/caller.ts';
import { createKey, ensureSystemPrincipal } from './access/keys.ts';
import { auditAsked } from './audit/audit.ts';
import type { Deps } from './control-plane.ts';
import { ADVISORY_LOCKS } from './registry/locks.ts';
import type { Transaction } from './registry/registry.ts';
import { ensureEmbeddedServers } from './servers/embedded-servers.ts';
import { ensureRegion } from './servers/region.ts';

/**
 * What a new fleet needs before anyone can use it: the admin's key, the configured regions, a key for each
 * region's app. Everything that is there already stays as it is. Then the embedded clusters are started.
 */
export async function bootstrapFleet(deps: Deps, config: Config): Promise<void> {
  const files = dataFiles(config.dataDir);
  await deps.registry.transaction(async (tx) => {
    await tx.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCKS.bootstrap]);
    await ensureSystemPrincipal(tx);
    for (const region of config.regions) {
      await ensureRegion(tx, {
        name: region,
        jurisdiction: region.toUpperCase(),
        domain: `${region}.localhost`,
        appUrl: config.appUrls[region] ?? null,
      });
    }
    await ensureKeyFile(tx, files.adminToken, { name: 'admin', kind: 'user', role: 'admin', regions: [] });
    for (const region of config.regions) {
      const app: KeySpec = { name: `app-${region}`, kind: 'app', role: 'app', regions: [region] };
      await ensureKeyFile(tx, files.appToken(region), app);
    }
  });
  await ensureEmbeddedServers(deps);
}

interface KeySpec {
  name: string;
  kind: 'user' | 'app';
  role: 'admin' | 'app';
  regions: string[];
}

/**
 * Makes the key when its file is missing or holds one that does not work. The file is written before the
 * transaction commits, so that no key is ever lost; one that was rolled back is replaced by the next boot.
 */
async function ensureKeyFile(tx: Transaction, file: string, spec: KeySpec): Promise<void> {
  if (existsSync(file) && (await works(tx, readFileSync(file, 'utf8').trim()))) return;
  const key = await createKey(tx, spec);
  const asker: Asker = { caller: SYSTEM_CALLER, requestId: null, reason: 'first start' };
  auditAsked(tx, asker, {
    action: 'key.create',
    resource: `key:${key.id}`,
    after: { name: spec.name, role: spec.role, regions: spec.regions },
  });
  tx.beforeCommit(async () => {
    writePrivate(file, `${key.token}\n`);
    await Promise.resolve();
  });
}

async function works(tx: Transaction, token: string): Promise<boolean> {
  try {
    await authenticate(tx, `Bearer ${token}`);
    return true;
  } catch (error) {
    if (error instanceof FleetError && error.code === 'unauthenticated') return false;
    throw error;
  }
}
