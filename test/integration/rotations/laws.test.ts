import assert from 'node:assert/strict';
import type { Tenant } from '../../../contract/tenant.ts';
import { rotateSecret } from '../../../control-plane/rotations/rotate.ts';
import { startRotateSecret } from '../../../control-plane/rotations/start.ts';
import { getOperation } from '../../../control-plane/operations/store.ts';
import { withClient } from '../../../platform/pg.ts';
import { clusters } from '../../support/clusters.ts';
import { obeysTheLaws } from '../../support/laws.ts';
import { startWorld, type World } from '../tenants/world.ts';
import { retireAll } from './retire-all.ts';

describe('operations of rotations', () => {
  let world: World;
  let tenant: Tenant;
  before(async () => {
    world = await startWorld();
    await world.publish(1);
    tenant = await world.create('law-rotation');
  });
  after(() => world.stop());

  /** Logins that let somebody in, and what the registry knows of them. Which of the two it is does not matter. */
  async function inventory(): Promise<string[]> {
    const { rows } = await withClient(clusters().eu.superuser, { applicationName: 'test' }, (client) =>
      client.query<{ login: string }>(
        `SELECT rolname AS login FROM pg_roles WHERE rolname IN ($1 || '_a', $1 || '_b') AND rolcanlogin`,
        [tenant.database],
      ),
    );
    const { rows: versions } = await world.registry.query<{ login: string; stage: string; sealed: boolean }>(
      `SELECT login, stage, EXISTS (SELECT 1 FROM sealed_secrets WHERE version_id = v.id) AS sealed
         FROM secret_versions v WHERE subject LIKE 'database:%' AND stage <> 'retired'`,
    );
    const { rows: leases } = await world.registry.query(
      'SELECT resource FROM leases WHERE holder IS NOT NULL AND expires_at > now() AND worker_is_alive(holder)',
    );
    return [
      ...rows.map(({ login }) => `open, known: ${versions.some((version) => version.login === login)}`),
      ...versions.map(({ stage, sealed }) => `${stage}, sealed: ${sealed}`),
      ...leases.map(({ resource }: { resource?: string }) => `lease ${resource}`),
    ].sort();
  }

  /** Whatever became of the rotation, the credential that is handed out works. */
  async function serves(): Promise<void> {
    await withClient(await world.login(tenant.id), { applicationName: 'test' }, (client) =>
      client.query('SELECT 1 FROM notes'),
    );
  }

  obeysTheLaws('secret.rotate', rotateSecret, () => ({
    registry: world.registry,
    operations: world.operations,
    begin: async () => {
      const started = await world.request((request) =>
        startRotateSecret(request.tx, tenant.id, { now: false }, request),
      );
      return started.operationId;
    },
    inventory,
    settle: async (operationId) => {
      await serves();
      assert.equal((await getOperation(world.registry, operationId))?.state, 'succeeded');
      assert.deepEqual(await inventory(), [
        'current, sealed: true',
        'open, known: true',
        'open, known: true',
        'previous, sealed: true',
      ]);
      await retireAll(world.deps);
      await serves();
    },
    discard: async () => {
      await serves();
      await retireAll(world.deps);
      await serves();
    },
  }));
});
