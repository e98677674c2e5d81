import assert from 'node:assert/strict';
import type { Tenant } from '../../../contract/tenant.ts';
import { getOperation } from '../../../control-plane/operations/store.ts';
import { rotateServer } from '../../../control-plane/rotations/servers/rotate.ts';
import { startRotateServer } from '../../../control-plane/rotations/servers/start.ts';
import { checkServers } from '../../../control-plane/servers/health.ts';
import { withClient } from '../../../platform/pg.ts';
import { obeysTheLaws } from '../../support/laws.ts';
import { startWorld, type World } from '../tenants/world.ts';
import { openFresh } from './server-ways.ts';

describe('operations on the credentials of servers', () => {
  let world: World;
  let tenant: Tenant;
  before(async () => {
    world = await startWorld();
    await world.publish(1);
    tenant = await world.create('law-server');
  });
  after(() => world.stop());

  async function inventory(): Promise<string[]> {
    const { rows } = await world.registry.query<{ item: string }>(
      `SELECT split_part(subject, ':', 1) || ' ' || stage || ' ' ||
              EXISTS (SELECT FROM sealed_secrets WHERE version_id = v.id) AS item
         FROM secret_versions v WHERE stage <> 'retired' OR EXISTS (SELECT FROM sealed_secrets WHERE version_id = v.id)
       UNION ALL
       SELECT 'lease ' || resource FROM leases
        WHERE holder IS NOT NULL AND expires_at > now() AND worker_is_alive(holder)
       ORDER BY 1`,
    );
    return rows.map(({ item }) => item);
  }

  /** Whatever became of the rotation, the fleet can administer and migrate; as one that has just been started would. */
  async function works(): Promise<void> {
    const fresh = await openFresh(world, tenant);
    await fresh.admin();
    await fresh.migrator();
    await fresh.close();
    // Destroys what was replaced.
    await checkServers(world.deps);
    await withClient(await world.login(tenant.id), { applicationName: 'test' }, (client) =>
      client.query('SELECT 1'),
    );
  }

  obeysTheLaws('server.rotate', rotateServer, () => ({
    registry: world.registry,
    operations: world.operations,
    begin: async () =>
      (await world.request((request) => startRotateServer(request.tx, 'eu-1', request))).operationId,
    inventory,
    settle: async (operationId) => {
      assert.equal((await getOperation(world.registry, operationId))?.state, 'succeeded');
      await works();
    },
    discard: works,
  }));
});
