import { randomUUID } from 'node:crypto';
import type { Driver } from '../../control-plane/operations/driver.ts';
import {
  acquireLease,
  fencedTransaction,
  releaseLease,
  type Lease,
} from '../../control-plane/operations/lease.ts';
import { getOperation } from '../../control-plane/operations/store.ts';
import type { Registry } from '../../control-plane/registry/registry.ts';

/** A lease of a hand-made worker. Its holder has no advisory lock, so the next one takes over at once. */
export async function takeLease(
  registry: Registry,
  resource: string,
): Promise<Lease & { abort: AbortController; stop: AbortController }> {
  const holder = randomUUID();
  const epoch = await acquireLease(registry, resource, holder);
  if (epoch === undefined) throw new Error(`${resource} is held`);
  const abort = new AbortController();
  const stop = new AbortController();
  const fence = { resource, holder, epoch };
  return {
    ...fence,
    abort,
    stop,
    signal: abort.signal,
    stopping: AbortSignal.any([abort.signal, stop.signal]),
    transaction: (work) => fencedTransaction(registry, fence, work),
  };
}

/** Carries a resource in this process, as a worker would, and gives the lease back. */
export async function driveOnce(registry: Registry, driver: Driver, id: string): Promise<void> {
  const lease = await takeLease(registry, `${driver.kind}:${id}`);
  await driver.drive(id, lease);
  await releaseLease(registry, lease.resource, lease.holder, lease.epoch);
}

/** Looks that no wait of a test needs; more are a wait that never ends. */
const LOOKS_MAX = 100;

/** The same for an operation that may wait: each wait counts as over at once. */
export async function driveToEnd(registry: Registry, driver: Driver, id: string): Promise<void> {
  for (let looks = 0; looks < LOOKS_MAX; looks += 1) {
    await driveOnce(registry, driver, id);
    const operation = await getOperation(registry, id);
    if (operation === undefined || operation.waiting === null) return;
  }
  throw new Error(`operation ${id} waits for ever`);
}
