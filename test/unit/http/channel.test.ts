import assert from 'node:assert/strict';
import { coalesced, sharedChannel } from '../../../control-plane/http/channel.ts';

/** A LISTEN connection that is told what to say. */
function fakeListen() {
  const open = new Set<(payload: string) => void>();
  let opened = 0;
  let fail = false;
  return {
    open,
    opened: () => opened,
    failNext: () => {
      fail = true;
    },
    listen: async (_channel: string, onNotify: (payload: string) => void) => {
      opened += 1;
      if (fail) {
        fail = false;
        throw new Error('no registry');
      }
      open.add(onNotify);
      return {
        close: async () => {
          open.delete(onNotify);
        },
      };
    },
  };
}

describe('shared channel', () => {
  it('listens once for many subscribers and stops with the last', async () => {
    const fake = fakeListen();
    const channel = sharedChannel(fake, 'x');
    const seen: string[] = [];
    const leaves = await Promise.all(
      ['a', 'b'].map((name) => channel.subscribe((payload) => seen.push(`${name}:${payload}`))),
    );
    for (const notify of fake.open) notify('1');
    assert.deepEqual([fake.opened(), seen], [1, ['a:1', 'b:1']]);
    await leaves[0]?.();
    await leaves[0]?.();
    for (const notify of fake.open) notify('2');
    assert.deepEqual(seen.slice(2), ['b:2']);
    await leaves[1]?.();
    assert.equal(fake.open.size, 0);
    await channel.subscribe(() => undefined);
    assert.equal(fake.opened(), 2);
  });

  it('tells a subscriber that it cannot listen, and tries again for the next', async () => {
    const fake = fakeListen();
    const channel = sharedChannel(fake, 'x');
    fake.failNext();
    await assert.rejects(channel.subscribe(() => undefined));
    await channel.subscribe(() => undefined);
    assert.equal(fake.open.size, 1);
  });
});

describe('coalesced', () => {
  it('never runs twice at once, and runs again for what came meanwhile', async () => {
    let running = 0;
    let runs = 0;
    const release: (() => void)[] = [];
    const trigger = coalesced(
      async () => {
        running += 1;
        runs += 1;
        assert.equal(running, 1);
        await new Promise<void>((resolve) => release.push(resolve));
        running -= 1;
      },
      (error) => assert.fail(String(error)),
    );
    for (let call = 0; call < 5; call += 1) trigger();
    release.shift()?.();
    while (release.length === 0) await new Promise(setImmediate);
    release.shift()?.();
    await new Promise(setImmediate);
    assert.equal(runs, 2);
    trigger();
    assert.equal(runs, 3);
  });

  it('stops after an error', async () => {
    let runs = 0;
    const failed = new Promise<void>((resolve) => {
      const trigger = coalesced(
        async () => {
          runs += 1;
          throw new Error('x');
        },
        () => {
          trigger();
          resolve();
        },
      );
      trigger();
    });
    await failed;
    assert.equal(runs, 1);
  });
});
