import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { acquireLease, releaseLease, releaseStrays } from '../../../control-plane/operations/lease.ts';
import type { Registry } from '../../../control-plane/registry/registry.ts';
import { freshRegistry, type TestRegistry } from '../../support/registry.ts';

describe('leases in the name of a worker that knows nothing of them', () => {
  const holder = randomUUID();
  let test: TestRegistry;

  before(async () => {
    test = await freshRegistry();
  });
  after(() => test.drop());

  const take = (resource: string) => acquireLease(test.registry, resource, holder);

  async function heldNow(): Promise<string[]> {
    const { rows } = await test.registry.query<{ resource: string }>(
      'SELECT resource FROM leases WHERE holder = $1 ORDER BY resource',
      [holder],
    );
    return rows.map(({ resource }) => resource);
  }

  it('are freed, and those that it knows are not', async () => {
    await Promise.all(['toy:known', 'toy:stray'].map(take));
    await releaseStrays(test.registry, holder, (resource) => resource === 'toy:known');
    assert.deepEqual(await heldNow(), ['toy:known']);
  });

  it('are left alone when they were given back and taken anew since it looked', async () => {
    const epoch = await take('toy:again');
    let looks = 0;
    const slow: Registry = {
      ...test.registry,
      query: async (...asked) => {
        const answer = await test.registry.query(...asked);
        looks += 1;
        if (looks > 1) return answer as never;
        await releaseLease(test.registry, 'toy:again', holder, epoch ?? 0);
        assert.equal(await take('toy:again'), (epoch ?? 0) + 1);
        return answer as never;
      },
    };
    await releaseStrays(slow, holder, (resource) => resource === 'toy:known');
    assert.deepEqual(await heldNow(), ['toy:again', 'toy:known']);
  });
});
