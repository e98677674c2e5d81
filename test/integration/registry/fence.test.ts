import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import {
  acquireLease,
  fencedTransaction,
  LeaseLostError,
  releaseLease,
} from '../../../control-plane/operations/lease.ts';
import { freshRegistry, type TestRegistry } from '../../support/registry.ts';

describe('lease', () => {
  let test: TestRegistry;
  const [first, second] = [randomUUID(), randomUUID()];

  before(async () => {
    test = await freshRegistry();
  });
  after(() => test.drop());

  it('is held by one worker, and a stale epoch cannot write', async () => {
    const { registry } = test;
    // A worker that holds no advisory lock counts as dead, so the second takes over at once.
    assert.equal(await acquireLease(registry, 'operation:x', first), 1);
    assert.equal(await acquireLease(registry, 'operation:x', second), 2);
    const stale = { resource: 'operation:x', holder: first, epoch: 1 };
    await assert.rejects(
      fencedTransaction(registry, stale, (tx) => tx.query("INSERT INTO settings VALUES ('stale', '1')")),
      LeaseLostError,
    );
    const { rows } = await registry.query("SELECT 1 FROM settings WHERE key = 'stale'");
    assert.equal(rows.length, 0);
    await releaseLease(registry, 'operation:x', second, 2);
    assert.equal(await acquireLease(registry, 'operation:x', first), 3);
  });
});
