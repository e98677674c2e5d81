import assert from 'node:assert/strict';
import { openSlots } from '../../../control-plane/rollouts/engine/slots.ts';
import type { ClaimedTarget } from '../../../control-plane/rollouts/target-store.ts';

function target(databaseId: string): ClaimedTarget {
  return {
    databaseId,
    serverId: 's',
    slug: databaseId,
    database: databaseId,
    schemaVersion: null,
    schemaStamp: null,
    ownerRole: 'o',
    ranBefore: false,
    wave: 0,
  };
}

describe('rollout slots', () => {
  it('cut everything over a failure of our own, and say so instead of looking free', async () => {
    const away = new Error('the registry is away');
    const cut: string[] = [];
    const slots = openSlots(
      async ({ databaseId }, signal) => {
        if (databaseId === 'bad') throw away;
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        cut.push(databaseId);
        return undefined;
      },
      2,
      { signal: new AbortController().signal, stopping: new AbortController().signal },
    );
    slots.throwIfBroken();
    slots.start(target('good'));
    slots.start(target('bad'));
    await slots.changed();
    assert.deepEqual(cut, ['good']);
    assert.throws(() => slots.throwIfBroken(), { name: 'InterruptedError', cause: away });
    await slots.close();
  });

  it('say that they were cut when a stopping process has waited long enough', async () => {
    const stopping = new AbortController();
    const slots = openSlots(
      async (_target, signal) => {
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        return undefined;
      },
      1,
      { signal: new AbortController().signal, stopping: stopping.signal },
      { stopMs: 5 },
    );
    slots.start(target('slow'));
    stopping.abort();
    await slots.changed();
    assert.throws(() => slots.throwIfBroken(), { name: 'InterruptedError' });
    await slots.close();
  });
});
