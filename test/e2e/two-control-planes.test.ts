import assert from 'node:assert/strict';
import type { Operation } from '../../contract/operation.ts';
import { startControlPlane, type ControlPlane } from '../../control-plane/control-plane.ts';
import { apiClient } from '../support/api.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { operationIdOf, startFleet, type Fleet } from '../support/fleet.ts';
import { quietLogger } from '../support/registry.ts';

describe('two control planes on one registry', function () {
  this.timeout(120_000);
  let fleet: Fleet;
  let second: ControlPlane;

  before(async () => {
    fleet = await startFleet();
    second = await startControlPlane({ config: fleet.config, role: 'all', logger: quietLogger });
  });
  after(async () => {
    await second.stop();
    await fleet.stop();
  });

  it('run each operation once, whichever was asked', async () => {
    const apis = [fleet.admin, apiClient(second.url ?? '', fleet.adminToken)];
    const slugs = Array.from({ length: 12 }, (_, index) => `twin-${index}`);
    const ids = await eachAtOnce(slugs, 6, async (slug) => {
      const answer = await apis[slug.length % 2]?.call('POST', '/api/v1/tenants', { slug, region: 'us' });
      assert.equal(answer?.status, 202, JSON.stringify(answer?.body));
      return operationIdOf(answer?.headers ?? {});
    });
    const operations: Operation[] = await Promise.all(ids.map((id) => fleet.finished(id)));
    for (const operation of operations) {
      assert.equal(operation.state, 'succeeded', JSON.stringify(operation.error));
      assert.ok(operation.steps.every((step) => step.tries === 1));
    }
  });

  it('take a slug that is wanted from both sides at once exactly once', async () => {
    const apis = [fleet.admin, apiClient(second.url ?? '', fleet.adminToken)];
    const answers = await eachAtOnce(
      Array.from({ length: 10 }, (_, index) => index),
      10,
      async (index) => apis[index % 2]?.call('POST', '/api/v1/tenants', { slug: 'wanted', region: 'eu' }),
    );
    const statuses = answers.map((answer) => answer?.status).sort();
    assert.deepEqual(statuses, [202, ...Array.from({ length: 9 }, () => 409)]);
    const winner = answers.find((answer) => answer?.status === 202);
    assert.equal((await fleet.finished(operationIdOf(winner?.headers ?? {}))).state, 'succeeded');
  });

  it('go on when one of them stops', async () => {
    await second.stop();
    const tenant = await fleet.createTenant('survivor');
    assert.equal(tenant.state, 'active');
    second = await startControlPlane({ config: fleet.config, role: 'api', logger: quietLogger });
    const other = apiClient(second.url ?? '', fleet.adminToken);
    assert.equal((await other.call('GET', '/api/v1/tenants/survivor')).status, 200);
  });
});
