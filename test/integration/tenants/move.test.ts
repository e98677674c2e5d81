import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { insertRegion } from '../../../control-plane/servers/region-store.ts';
import { findTenant, insertTenant, moveTenant } from '../../../control-plane/tenants/store.ts';
import { freshRegistry, type TestRegistry } from '../../support/registry.ts';

describe('moving a tenant from state to state', () => {
  let test: TestRegistry;
  const id = randomUUID();
  before(async () => {
    test = await freshRegistry();
    await insertRegion(test.registry, { name: 'eu', jurisdiction: 'EU', domain: 'eu.test', appUrl: null });
    const none = { labels: {}, contact: null, crmRef: null };
    await insertTenant(test.registry, {
      ...{ id, slug: 'acme', name: 'Acme', tier: 'standard', region: 'eu' },
      ...none,
    });
  });
  after(() => test.drop());

  const stored = async () => {
    const tenant = await findTenant(test.registry, id);
    return [tenant?.state, tenant?.version];
  };

  it('changes the row once, however often the step is repeated', async () => {
    await moveTenant(test.registry, id, 'provisioning', 'activate');
    assert.deepEqual(await stored(), ['active', 2]);
    await moveTenant(test.registry, id, 'provisioning', 'activate');
    assert.deepEqual(await stored(), ['active', 2]);
  });

  it('refuses a move whose tenant has gone elsewhere, and changes nothing', async () => {
    await assert.rejects(moveTenant(test.registry, id, 'provisioning', 'fail'), { code: 'wrong_state' });
    await assert.rejects(moveTenant(test.registry, id, 'offboarding', 'delete'), { code: 'wrong_state' });
    assert.deepEqual(await stored(), ['active', 2]);
  });

  it('refuses an event that the state does not know, and a tenant that is not there', async () => {
    await assert.rejects(moveTenant(test.registry, id, 'active', 'delete'), { code: 'wrong_state' });
    await assert.rejects(moveTenant(test.registry, randomUUID(), 'active', 'suspend'), {
      code: 'tenant_not_found',
    });
  });
});
