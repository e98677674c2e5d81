import { randomUUID } from 'node:crypto';
import { RolloutSpec } from '../../../contract/rollout.ts';
import type { Registry } from '../../../control-plane/registry/registry.ts';
import { releaseChecksum } from '../../../control-plane/releases/release.ts';
import { insertMigrations, insertRelease } from '../../../control-plane/releases/store.ts';
import { MIGRATIONS } from './model-database.ts';
import { WATCHERS } from './model-watchers.ts';

export const SERVERS = { eu: randomUUID(), us: randomUUID() };
const PARALLEL = 3;

export const SPEC = RolloutSpec.parse({
  release: 'r1',
  budget: { failures: 3 },
  waves: [
    { name: 'canary', count: 1, parallel: PARALLEL },
    // Several may fail at once: it stays over its budget when one of them is repaired.
    {
      name: 'eu',
      match: { region: 'eu' },
      dependsOn: ['canary'],
      parallel: PARALLEL,
      budget: { failures: 0, unreachable: 2 },
    },
    {
      name: 'us',
      match: { region: 'us' },
      dependsOn: ['canary'],
      parallel: PARALLEL,
      perServer: 2,
      budget: { failures: 1 },
      bake: '1h',
    },
    { name: 'rest', dependsOn: ['eu', 'us'], parallel: PARALLEL },
  ],
});

/** Two servers, and the release. */
export async function prepare(registry: Registry): Promise<void> {
  for (const [region, id] of Object.entries(SERVERS)) {
    await registry.query('INSERT INTO regions (name, jurisdiction, domain) VALUES ($1, $1, $1)', [region]);
    await registry.query(
      `INSERT INTO servers (id, name, region, provider, mode, state, host, port, tls, admin_user, admin_database,
                            max_databases, max_connections)
       VALUES ($1, $2, $2, 'postgres', 'shared', 'ready', 'nowhere', 1, 'disable', 'nobody', 'postgres', 1, 1)`,
      [id, region],
    );
  }
  await registry.transaction(async (tx) => {
    await insertMigrations(tx, [...MIGRATIONS]);
    await insertRelease(tx, {
      name: 'r1',
      head: MIGRATIONS.at(-1)?.name ?? '',
      headOrdinal: MIGRATIONS.length,
      checksum: releaseChecksum([...MIGRATIONS]),
      publishedBy: 'test',
    });
  });
  await registry.query(WATCHERS);
}

/** Rows of the run before; what hangs on rollouts and tenants goes with them. */
export const CLEAR = `
  TRUNCATE rollouts, tenants CASCADE;
  DELETE FROM breaches; DELETE FROM route_changes; DELETE FROM leases; DELETE FROM graphile_worker._private_jobs;
  DELETE FROM settings WHERE key = 'current_release'`;
