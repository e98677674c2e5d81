import { randomBytes } from 'node:crypto';
import assert from 'node:assert/strict';
import { createTenant } from '../../../control-plane/tenants/create.ts';
import { deleteTenant, startDeleteTenant } from '../../../control-plane/tenants/delete.ts';
import { resumeTenant, startResumeTenant } from '../../../control-plane/tenants/resume.ts';
import { findTenant } from '../../../control-plane/tenants/store.ts';
import { startSuspendTenant, suspendTenant } from '../../../control-plane/tenants/suspend.ts';
import { getOperation } from '../../../control-plane/operations/store.ts';
import { withClient } from '../../../platform/pg.ts';
import { obeysTheLaws, type Subject } from '../../support/laws.ts';
import { startWorld, type World } from './world.ts';

describe('operations of tenants', () => {
  let world: World;
  before(async () => {
    world = await startWorld();
    await world.publish(2);
  });
  after(() => world.stop());

  const tenantOf = async (operationId: string): Promise<string> =>
    ((await getOperation(world.registry, operationId))?.subject ?? '').replace('tenant:', '');
  const remove = async (operationId: string): Promise<void> => world.remove(await tenantOf(operationId));
  const slug = (): string => `law-${randomBytes(4).toString('hex')}`;
  const subject = (
    begin: Subject['begin'],
    settled: (tenantId: string) => Promise<void>,
    unwound: (tenantId: string) => Promise<void> = async () => undefined,
  ): Subject => ({
    registry: world.registry,
    operations: world.operations,
    begin,
    inventory: () => world.inventory(),
    settle: async (operationId) => {
      await settled(await tenantOf(operationId));
      await remove(operationId);
    },
    discard: async (operationId) => {
      await unwound(await tenantOf(operationId));
      await remove(operationId);
    },
  });

  const serves = async (tenantId: string): Promise<void> => {
    assert.equal((await findTenant(world.registry, tenantId))?.state, 'active');
    await withClient(await world.login(tenantId), { applicationName: 'test' }, (client) =>
      client.query('SELECT 1 FROM notes'),
    );
  };
  const isLocked = async (tenantId: string): Promise<void> => {
    assert.equal((await findTenant(world.registry, tenantId))?.state, 'suspended');
    await assert.rejects(
      withClient(await world.login(tenantId), { applicationName: 'test' }, (client) =>
        client.query('SELECT 1'),
      ),
      { code: '28000' },
    );
  };

  obeysTheLaws('tenant.create', createTenant, () =>
    subject(
      async () => (await world.begin(slug(), { domains: [`${slug()}.example.com`] })).operationId,
      serves,
    ),
  );

  obeysTheLaws('tenant.suspend', suspendTenant, () =>
    subject(async () => {
      const { id } = await world.create(slug());
      return world.request((request) => startSuspendTenant(request.tx, id, { ...request, reason: 'unpaid' }));
    }, isLocked),
  );

  obeysTheLaws('tenant.resume', resumeTenant, () =>
    subject(
      async () => {
        const { id } = await world.create(slug());
        await world.drive(await world.request((request) => startSuspendTenant(request.tx, id, request)));
        return world.request((request) => startResumeTenant(request.tx, id, request));
      },
      serves,
      isLocked,
    ),
  );

  obeysTheLaws('tenant.delete', deleteTenant, () =>
    subject(
      async () => {
        const tenant = await world.create(slug(), { domains: [`${slug()}.example.com`] });
        const { operationId } = await world.request((request) =>
          startDeleteTenant(request.tx, tenant.id, tenant.slug, request),
        );
        return operationId;
      },
      async (tenantId) => {
        assert.equal((await findTenant(world.registry, tenantId))?.state, 'deleted');
      },
    ),
  );
});
