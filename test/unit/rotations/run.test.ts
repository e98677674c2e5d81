import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ROTATION_STATES, ROTATION_TARGET_STATES } from '../../../contract/rotation.ts';
import { TENANT_STATES } from '../../../contract/tenant.ts';
import {
  nextStep,
  verdictOf,
  type Standing,
  type WaitingTarget,
} from '../../../control-plane/rotations/runs/plan.ts';
import {
  NO_TARGETS,
  targetAfter,
  targetSources,
  transitionRun,
  transitionTarget,
  type RunEvent,
  type TargetEvent,
} from '../../../control-plane/rotations/runs/run.ts';

const SEED = 20_261_122;
const RUN_EVENTS: RunEvent[] = ['start', 'succeed', 'fail', 'cancel'];
const TARGET_EVENTS: TargetEvent[] = ['start', 'rotate', 'fail', 'defer', 'skip'];
const PATIENCE_MS = 1_000;

const waitingOn = (...servers: string[]): WaitingTarget[] =>
  servers.map((serverId, index) => ({
    ...{ tenantId: `tenant-${index}`, slug: `tenant-${index}`, tenantState: 'active', serverId },
  }));

function standing(more: Partial<Standing> = {}): Standing {
  return {
    run: { id: 'run', parallel: 2, perServer: 1, now: false, stop: null },
    counts: { ...NO_TARGETS, pending: more.waiting?.length ?? 0 },
    ...{ failuresInARow: 0, taken: [], waiting: [], later: 0, quietMs: 0, ...more },
  };
}

describe('a rotation run', () => {
  it('ends once and for all, and so does each of its targets', () => {
    for (const state of ROTATION_STATES) {
      for (const event of RUN_EVENTS) {
        const next = transitionRun(state, event);
        assert.ok(next === undefined || ROTATION_STATES.includes(next));
        if (['succeeded', 'failed', 'cancelled'].includes(state)) assert.equal(next, undefined);
      }
    }
    for (const state of ROTATION_TARGET_STATES) {
      for (const event of TARGET_EVENTS) {
        const next = transitionTarget(state, event);
        if (['rotated', 'failed', 'skipped'].includes(state)) assert.equal(next, undefined);
        if (next !== undefined) assert.equal(next, targetAfter(event));
        assert.equal(next !== undefined, targetSources(event).includes(state));
      }
    }
  });

  it('never has more in work than its places, on no server more than that allows, and comes to its end', () => {
    const server = fc.constantFrom('one', 'two', 'three');
    fc.assert(
      fc.property(
        fc.array(server, { maxLength: 30 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 6 }),
        (servers, parallel, perServer) => {
          const run = { id: 'run', parallel, perServer, now: false, stop: null };
          let waiting = waitingOn(...servers);
          let taken: WaitingTarget[] = [];
          let rotated = 0;
          for (let steps = 0; ; steps += 1) {
            assert.ok(steps < 200, 'it does not end');
            const counts = { ...NO_TARGETS, pending: waiting.length, running: taken.length, rotated };
            const places = taken.map(({ serverId }) => serverId ?? '');
            const step = nextStep(standing({ run, counts, waiting, taken: places }), PATIENCE_MS);
            if (step.kind === 'end') {
              assert.deepEqual([step.event, rotated], ['succeed', servers.length]);
              return;
            }
            if (step.kind === 'wait') {
              assert.ok(taken.length > 0, 'it waits for nothing');
              taken = taken.slice(1);
              rotated += 1;
              continue;
            }
            taken = [...taken, ...step.targets];
            waiting = waiting.filter((target) => !step.targets.includes(target));
            assert.ok(taken.length <= parallel);
            for (const name of servers) {
              assert.ok(taken.filter(({ serverId }) => serverId === name).length <= perServer);
            }
          }
        },
      ),
      { seed: SEED },
    );
  });

  it('passes a server over that has no place left', () => {
    const step = nextStep(standing({ taken: ['one'], waiting: waitingOn('one', 'two') }), PATIENCE_MS);
    assert.deepEqual(step.kind === 'begin' && step.targets.map(({ serverId }) => serverId), ['two']);
  });

  it('begins nothing after three failures in a row, and fails when what was in work has ended', () => {
    const broken = standing({
      failuresInARow: 3,
      waiting: waitingOn('one'),
      counts: { ...NO_TARGETS, running: 1 },
    });
    assert.equal(nextStep(broken, PATIENCE_MS).kind, 'wait');
    const step = nextStep({ ...broken, counts: NO_TARGETS }, PATIENCE_MS);
    assert.ok(step.kind === 'end' && step.event === 'fail' && step.error?.code === 'rotations_fail');
    assert.equal(nextStep({ ...broken, failuresInARow: 2 }, PATIENCE_MS).kind, 'begin');
  });

  it('ends as cancelled when it was asked to stop, with nothing in work', () => {
    const run = { ...standing().run, stop: { code: 'cancelled', message: 'enough' } };
    const counts = { ...NO_TARGETS, pending: 1, running: 1 };
    assert.equal(nextStep(standing({ run, counts, waiting: waitingOn('one') }), PATIENCE_MS).kind, 'wait');
    const step = nextStep(standing({ run, waiting: waitingOn('one') }), PATIENCE_MS);
    assert.ok(step.kind === 'end' && step.event === 'cancel' && step.error?.message === 'enough');
  });

  it('waits for deferred tenants as long as it has patience, and fails where one has failed', () => {
    const later = standing({ later: 1, quietMs: 10, counts: { ...NO_TARGETS, deferred: 1, rotated: 3 } });
    assert.equal(nextStep(later, PATIENCE_MS).kind, 'wait');
    const over = nextStep({ ...later, quietMs: PATIENCE_MS }, PATIENCE_MS);
    assert.ok(over.kind === 'end' && over.event === 'succeed');
    const failed = nextStep(standing({ counts: { ...NO_TARGETS, failed: 1, rotated: 3 } }), PATIENCE_MS);
    assert.ok(failed.kind === 'end' && failed.event === 'fail' && failed.error?.code === 'targets_failed');
  });

  it('looks at no deferred tenant for ever, however soon the next one comes up again', () => {
    const counts = { ...NO_TARGETS, deferred: 200, rotated: 3 };
    const again = standing({ waiting: waitingOn('one'), later: 199, counts, quietMs: PATIENCE_MS - 1 });
    assert.equal(nextStep(again, PATIENCE_MS).kind, 'begin');
    assert.equal(nextStep({ ...again, quietMs: PATIENCE_MS }, PATIENCE_MS).kind, 'end');
  });

  it('says of every state of a tenant what becomes of its target', () => {
    const verdicts = TENANT_STATES.map((state) => `${state}: ${verdictOf(state).may}`);
    assert.deepEqual(verdicts, [
      'provisioning: defer',
      'active: begin',
      'suspended: defer',
      'moving: defer',
      'offboarding: skip',
      'deleted: skip',
      'failed: skip',
    ]);
  });
});
