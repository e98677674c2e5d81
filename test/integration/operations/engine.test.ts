import assert from 'node:assert/strict';
import { createOperationDriver, type Probe } from '../../../control-plane/operations/engine.ts';
import { LeaseLostError } from '../../../control-plane/operations/lease.ts';
import { cancelOperation, retryOperation } from '../../../control-plane/operations/operation.ts';
import { getOperation } from '../../../control-plane/operations/store.ts';
import { migrateQueue } from '../../../control-plane/operations/worker.ts';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import { WaitingError } from '../../../control-plane/operations/waiting.ts';
import { FleetError } from '../../../platform/errors.ts';
import { driveOnce, takeLease } from '../../support/drive.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { freshRegistry, quietLogger, type TestRegistry } from '../../support/registry.ts';
import {
  prepareToys,
  startToy,
  STEPS,
  toyOperations,
  toyRows,
  type ToyDeps,
} from '../../support/toy-operation.ts';

class Crash extends Error {}

describe('operation engine', () => {
  let test: TestRegistry;
  let deps: ToyDeps;

  before(async () => {
    test = await freshRegistry();
    await migrateQueue(test.registry);
    await prepareToys(test.registry);
  });
  after(() => test.drop());
  beforeEach(() => {
    deps = { registry: test.registry, failures: new Map() };
  });

  const driver = (probe?: Probe) =>
    createOperationDriver({
      registry: test.registry,
      operations: toyOperations(deps),
      logger: quietLogger,
      ...(probe === undefined ? {} : { probe }),
    });
  const state = async (id: string) => (await getOperation(test.registry, id))?.state;
  const retry = (id: string) =>
    test.registry.transaction((tx) =>
      retryOperation(tx, id, toyOperations(deps), { caller: SYSTEM_CALLER, requestId: null }),
    );

  it('does every step once, in order, and stores the outputs', async () => {
    const id = await startToy(test.registry, 'toy.forward', 'plain');
    await driveOnce(test.registry, driver(), id);
    const operation = await getOperation(test.registry, id);
    assert.equal(operation?.state, 'succeeded');
    assert.deepEqual(
      operation?.steps.map((step) => [step.name, step.state, step.tries]),
      STEPS.map((name) => [name, 'done', 1]),
    );
    assert.deepEqual((await toyRows(test.registry, 'plain')).length, 3);
  });

  it('logs under the request that asked for the operation, and under its tenant', async () => {
    const lines: string[] = [];
    const id = await startToy(test.registry, 'toy.forward', 'tenant:logged', 'request-7');
    const operations = toyOperations(deps);
    const logger = recordingLogger((line) => lines.push(line));
    await driveOnce(
      test.registry,
      createOperationDriver({ registry: test.registry, operations, logger }),
      id,
    );
    assert.equal(lines.length, 2);
    for (const line of lines) {
      const { operationId, requestId, tenant, subject } = JSON.parse(line) as Record<string, unknown>;
      assert.deepEqual(
        { operationId, requestId, tenant },
        { operationId: id, requestId: 'request-7', tenant: subject },
      );
    }
  });

  it('goes on where another worker died, at every step, before and after the effect', async () => {
    for (const step of STEPS) {
      for (const moment of ['before-effect', 'after-effect'] as const) {
        const subject = `crash ${step} ${moment}`;
        const id = await startToy(test.registry, 'toy.forward', subject);
        const crash: Probe = (point) => {
          if (point.step === step && point.moment === moment) throw new Crash();
        };
        await assert.rejects(driveOnce(test.registry, driver(crash), id), Crash);
        assert.equal(await state(id), 'running');
        await driveOnce(test.registry, driver(), id);
        assert.equal(await state(id), 'succeeded');
      }
    }
  });

  it('undoes what it did when a step fails for good, and says why', async () => {
    deps.failures.set('three', [new FleetError({ code: 'no_luck', status: 409, message: 'no luck today' })]);
    const id = await startToy(test.registry, 'toy.forward', 'unwound');
    await driveOnce(test.registry, driver(), id);
    const operation = await getOperation(test.registry, id);
    assert.equal(operation?.state, 'failed');
    assert.equal(operation?.error?.code, 'no_luck');
    assert.deepEqual(await toyRows(test.registry, 'unwound'), []);
    await retry(id);
    await driveOnce(test.registry, driver(), id);
    assert.equal(await state(id), 'succeeded');
  });

  it('tries a passing error again and needs nobody', async () => {
    deps.failures.set('two', [
      new FleetError({ code: 'busy', status: 503, message: 'busy', retryable: true }),
    ]);
    const id = await startToy(test.registry, 'toy.forward', 'retried');
    await driveOnce(test.registry, driver(), id);
    assert.equal(await state(id), 'succeeded');
  });

  it('parks an undo that fails, and a retry goes on undoing', async () => {
    deps.failures.set('three', [new FleetError({ code: 'no_luck', status: 409, message: 'no luck' })]);
    deps.failures.set('undo two', [new FleetError({ code: 'stuck', status: 409, message: 'stuck' })]);
    const id = await startToy(test.registry, 'toy.forward', 'parked');
    await driveOnce(test.registry, driver(), id);
    assert.equal(await state(id), 'failed');
    assert.deepEqual(await toyRows(test.registry, 'parked'), ['one', 'two']);
    await retry(id);
    await driveOnce(test.registry, driver(), id);
    assert.equal(await state(id), 'failed');
    assert.deepEqual(await toyRows(test.registry, 'parked'), []);
  });

  it('stays failed in place, and goes on from there, where it may only go forward', async () => {
    deps.failures.set('two', [new FleetError({ code: 'no_luck', status: 409, message: 'no luck' })]);
    const id = await startToy(test.registry, 'toy.stubborn', 'stubborn');
    await driveOnce(test.registry, driver(), id);
    assert.equal(await state(id), 'failed');
    assert.deepEqual(await toyRows(test.registry, 'stubborn'), ['one']);
    await retry(id);
    await driveOnce(test.registry, driver(), id);
    assert.equal(await state(id), 'succeeded');
  });

  it('cancels between steps and undoes', async () => {
    const id = await startToy(test.registry, 'toy.forward', 'cancelled');
    const cancel: Probe = async (point) => {
      if (point.step === 'one' && point.moment === 'after-effect' && point.direction === 'forward') {
        await test.registry.transaction((tx) =>
          cancelOperation(tx, id, toyOperations(deps), { caller: SYSTEM_CALLER, requestId: null }),
        );
      }
    };
    await driveOnce(test.registry, driver(cancel), id);
    assert.equal(await state(id), 'cancelled');
    assert.deepEqual(await toyRows(test.registry, 'cancelled'), []);
  });

  it('stops writing the moment another worker has taken over', async () => {
    const id = await startToy(test.registry, 'toy.forward', 'fenced');
    const stale = await takeLease(test.registry, `operation:${id}`);
    const overtake: Probe = async (point) => {
      if (point.step === 'one' && point.moment === 'after-effect')
        await driveOnce(test.registry, driver(), id);
    };
    await assert.rejects(driver(overtake).drive(id, stale), LeaseLostError);
    const operation = await getOperation(test.registry, id);
    assert.equal(operation?.state, 'succeeded');
    assert.deepEqual(
      operation?.steps.map((step) => step.tries),
      [2, 1, 1],
    );
  });

  it('hands a step over when the process stops while its error may still pass', async () => {
    for (const kind of ['toy.forward', 'toy.stubborn']) {
      deps.failures.set('two', [
        new FleetError({ code: 'busy', status: 503, message: 'busy', retryable: true }),
      ]);
      const id = await startToy(test.registry, kind, `handed over ${kind}`);
      const lease = await takeLease(test.registry, `operation:${id}`);
      const stop: Probe = (point) => {
        if (point.step === 'two') lease.stop.abort();
      };
      await driver(stop).drive(id, lease);
      assert.equal(await state(id), 'running');
      await driveOnce(test.registry, driver(), id);
      assert.equal(await state(id), 'succeeded');
    }
  });

  it('parks an undo that kills its workers', async () => {
    deps.failures.set('three', [new FleetError({ code: 'no_luck', status: 409, message: 'no luck' })]);
    const id = await startToy(test.registry, 'toy.forward', 'poisonous undo');
    const crash: Probe = (point) => {
      if (point.direction === 'backward' && point.step === 'two') throw new Crash();
    };
    let deaths = 0;
    while ((await state(id)) !== 'failed' && deaths < 80) {
      await driveOnce(test.registry, driver(crash), id).catch(() => (deaths += 1));
    }
    assert.ok(deaths > 10 && deaths < 80, `${deaths} deaths`);
    const operation = await getOperation(test.registry, id);
    assert.match(operation?.error?.message ?? '', /killing its workers/);
  });

  it('refuses to repeat what a newer operation has overtaken', async () => {
    deps.failures.set('one', [new FleetError({ code: 'no_luck', status: 409, message: 'no luck' })]);
    const old = await startToy(test.registry, 'toy.forward', 'overtaken');
    await driveOnce(test.registry, driver(), old);
    const newer = await startToy(test.registry, 'toy.forward', 'overtaken');
    await driveOnce(test.registry, driver(), newer);
    await assert.rejects(
      retry(old),
      (error) => error instanceof FleetError && error.code === 'operation_superseded',
    );
    assert.equal(await state(old), 'failed');
  });

  it('refuses a second operation on the same subject', async () => {
    await startToy(test.registry, 'toy.forward', 'busy');
    await assert.rejects(
      startToy(test.registry, 'toy.forward', 'busy'),
      (error) => error instanceof FleetError && error.code === 'operation_in_progress',
    );
  });

  describe('of a step that waits for somebody else', () => {
    const waiting = (what: string) => new WaitingError({ what, afterMs: 60_000, limitMs: 600_000 });
    const isDue = async (id: string) =>
      (await test.registry.query<{ id: string }>(driver().openIdsSql)).rows.some((row) => row.id === id);
    const cancel = (id: string) =>
      test.registry.transaction((tx) =>
        cancelOperation(tx, id, toyOperations(deps), { caller: SYSTEM_CALLER, requestId: null }),
      );

    it('puts the operation aside, says for what, and does the step again at the next look', async () => {
      deps.failures.set('two', [waiting('it is made'), waiting('it is set up')]);
      const id = await startToy(test.registry, 'toy.forward', 'waits');
      await driveOnce(test.registry, driver(), id);
      const first = (await getOperation(test.registry, id))?.waiting;
      assert.equal(first?.for, 'it is made');
      assert.ok(Date.parse(first.nextLook) - Date.parse(first.since) > 50_000);
      assert.equal(await isDue(id), false);
      await driveOnce(test.registry, driver(), id);
      const second = await getOperation(test.registry, id);
      assert.deepEqual([second?.state, second?.waiting?.for], ['running', 'it is set up']);
      assert.equal(second?.waiting?.since, first.since);
      await driveOnce(test.registry, driver(), id);
      const last = await getOperation(test.registry, id);
      assert.deepEqual([last?.state, last?.waiting], ['succeeded', null]);
      assert.deepEqual(
        last?.steps.map((step) => step.tries),
        [1, 1, 1],
      );
    });

    it('fails the step when the wait has lasted too long, whoever looked meanwhile', async () => {
      deps.failures.set('two', [waiting('it is made'), waiting('it is made')]);
      const id = await startToy(test.registry, 'toy.forward', 'waits too long');
      await driveOnce(test.registry, driver(), id);
      await test.registry.query(
        "UPDATE operations SET waiting_since = waiting_since - interval '1 hour' WHERE id = $1",
        [id],
      );
      await driveOnce(test.registry, driver(), id);
      const operation = await getOperation(test.registry, id);
      assert.deepEqual([operation?.state, operation?.error?.code], ['failed', 'waited_too_long']);
      assert.match(operation?.error?.message ?? '', /it is made, for 60 min now; 10 min were allowed/);
      assert.deepEqual(await toyRows(test.registry, 'waits too long'), []);
    });

    it('counts each step that waits from its own first look', async () => {
      deps.failures.set('one', [waiting('the first')]);
      deps.failures.set('two', [waiting('the second')]);
      const id = await startToy(test.registry, 'toy.forward', 'waits twice');
      await driveOnce(test.registry, driver(), id);
      await test.registry.query(
        "UPDATE operations SET waiting_since = waiting_since - interval '1 hour' WHERE id = $1",
        [id],
      );
      await driveOnce(test.registry, driver(), id);
      const { waiting: wait } = (await getOperation(test.registry, id)) ?? {};
      assert.equal(wait?.for, 'the second');
      assert.ok(Date.now() - Date.parse(wait.since) < 60_000);
    });

    it('is cancelled while it waits, and waits in its undoing too', async () => {
      deps.failures.set('two', [waiting('it is made')]);
      deps.failures.set('undo two', [waiting('it is taken away')]);
      const id = await startToy(test.registry, 'toy.forward', 'cancelled while it waits');
      await driveOnce(test.registry, driver(), id);
      await cancel(id);
      assert.equal(await isDue(id), true);
      await driveOnce(test.registry, driver(), id);
      const operation = await getOperation(test.registry, id);
      assert.deepEqual([operation?.direction, operation?.waiting?.for], ['backward', 'it is taken away']);
      assert.equal(await isDue(id), false);
      await driveOnce(test.registry, driver(), id);
      assert.equal(await state(id), 'cancelled');
      assert.deepEqual(await toyRows(test.registry, 'cancelled while it waits'), []);
    });
  });
});
