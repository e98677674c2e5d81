import assert from 'node:assert/strict';
import { createOperationDriver } from '../../control-plane/operations/engine.ts';
import { getOperation } from '../../control-plane/operations/store.ts';
import { migrateQueue, startWorker, type Worker } from '../../control-plane/operations/worker.ts';
import { WaitingError } from '../../control-plane/operations/waiting.ts';
import { startChild, type Child } from '../support/child.ts';
import { freshRegistry, quietLogger, type TestRegistry } from '../support/registry.ts';
import { prepareToys, startToy, toyOperations } from '../support/toy-operation.ts';
import { until } from '../support/until.ts';

describe('worker takeover', () => {
  let test: TestRegistry;
  let survivor: Worker;
  const children: Child[] = [];
  const failures = new Map<string, Error[]>();

  before(async () => {
    test = await freshRegistry();
    await migrateQueue(test.registry);
    await prepareToys(test.registry);
  });
  after(async () => {
    await Promise.all(children.map((child) => child.kill('SIGKILL')));
    await survivor.stop();
    await test.drop();
  });

  const state = async (id: string) => (await getOperation(test.registry, id))?.state;
  const startSurvivor = () =>
    startWorker({
      registry: test.registry,
      logger: quietLogger,
      drivers: [
        createOperationDriver({
          registry: test.registry,
          operations: toyOperations({ registry: test.registry, failures }),
          logger: quietLogger,
        }),
      ],
    });

  it('carries on within 5 s when the owner is killed between an effect and its record', async () => {
    const victim = startChild('test/support/toy-worker.ts', [test.url, 'two']);
    children.push(victim);
    await victim.line((text) => text === 'ready');
    const id = await startToy(test.registry, 'toy.forward', 'taken over');
    await victim.line((text) => text === 'hanging');
    survivor = await startSurvivor();
    const killedAt = Date.now();
    await victim.kill('SIGKILL');
    await until('another worker finishes', async () => (await state(id)) === 'succeeded');
    assert.ok(Date.now() - killedAt < 5_000, `took ${Date.now() - killedAt} ms`);
    const operation = await getOperation(test.registry, id);
    assert.deepEqual(
      operation?.steps.map((step) => step.tries),
      [1, 2, 1],
    );
    await until('no job is left', async () => (await jobs()) === 0);
  });

  const jobs = async () => (await test.registry.query('SELECT 1 FROM graphile_worker.jobs')).rows.length;

  it('finds an open operation whose job was lost', async () => {
    const id = await startToy(test.registry, 'toy.forward', 'lost job');
    await test.registry.query('DELETE FROM graphile_worker._private_jobs WHERE key = $1', [
      `operation:${id}`,
    ]);
    await until('the sweeper finds it', async () => (await state(id)) === 'succeeded', 5_000);
  });

  for (const [fate, lose] of [
    ['comes', false],
    ['is lost', true],
  ] as const) {
    it(`looks again after a wait, when the job for it ${fate}`, async () => {
      failures.set('two', [new WaitingError({ what: 'it is made', afterMs: 400, limitMs: 60_000 })]);
      const id = await startToy(test.registry, 'toy.forward', `waits: ${fate}`);
      await until('it waits', async () => (await getOperation(test.registry, id))?.waiting !== null);
      const key = `operation:${id}`;
      if (lose) await test.registry.query('DELETE FROM graphile_worker._private_jobs WHERE key = $1', [key]);
      await until('it goes on', async () => (await state(id)) === 'succeeded', 5_000);
    });
  }

  it('frees a lease whose release was lost, though the worker in whose name it stands lives', async () => {
    const id = await startToy(test.registry, 'toy.forward', 'stray lease');
    await test.registry.query(
      `INSERT INTO leases VALUES ($1, $2, 7, now() + interval '1 hour')
       ON CONFLICT (resource) DO UPDATE SET holder = $2, epoch = leases.epoch + 7, expires_at = now() + interval '1 hour'`,
      [`operation:${id}`, survivor.id],
    );
    await until('the sweeper frees it', async () => (await state(id)) === 'succeeded', 6_000);
  });

  it('runs each operation once with two workers at work', async () => {
    const second = startChild('test/support/toy-worker.ts', [test.url]);
    children.push(second);
    await second.line((text) => text === 'ready');
    const ids = await Promise.all(
      Array.from({ length: 40 }, (_, index) => startToy(test.registry, 'toy.forward', `both ${index}`)),
    );
    for (const id of ids) await until(`${id} ends`, async () => (await state(id)) === 'succeeded');
    for (const id of ids) {
      const operation = await getOperation(test.registry, id);
      assert.deepEqual(
        operation?.steps.map((step) => step.tries),
        [1, 1, 1],
      );
    }
  });
});
