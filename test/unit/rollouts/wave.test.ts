import assert from 'node:assert/strict';
import fc from 'fast-check';
import { borne } from '../../../contract/budget.ts';
import type { Budget } from '../../../contract/rollout.ts';
import { exceeded, type Tally } from '../../../control-plane/rollouts/engine/budget.ts';
import type { WaitingTarget } from '../../../control-plane/rollouts/target-store.ts';
import {
  isDrained,
  pickTargets,
  type Bounds,
  type OpenWave,
} from '../../../control-plane/rollouts/engine/wave.ts';

const RUNS = { numRuns: 1_000, seed: 20261121 };
const NOW = new Date('2026-11-21T12:00:00Z');
const GONE = { givenUpAt: null, waves: [0] };
const SERVERS = ['s0', 's1', 's2'];

interface WaveShape {
  parallel: number;
  perServer: number;
  failures: number;
  /** By target: its server, and whether its migration fails. */
  targets: { server: number; fails: boolean }[];
}

const anyWave: fc.Arbitrary<WaveShape> = fc.record({
  parallel: fc.integer({ min: 1, max: 8 }),
  perServer: fc.integer({ min: 1, max: 8 }),
  failures: fc.integer({ min: 0, max: 10 }),
  targets: fc.array(fc.record({ server: fc.nat(2), fails: fc.boolean() }), { minLength: 1, maxLength: 20 }),
});
const anyBudget = fc.option(
  fc.integer({ min: 0, max: 10 }).map((failures): Budget => ({ failures })),
  { nil: undefined },
);
/** Which of those in flight ends next. */
const anyOrder = fc.array(fc.nat(100), { minLength: 60, maxLength: 60 });

interface Flying {
  open: OpenWave;
  target: WaitingTarget;
  fails: boolean;
}

interface World {
  open: OpenWave[];
  bounds: Bounds;
  flying: Flying[];
  fails: Map<string, boolean>;
}

function emptyTally(base: number): Tally {
  return { base, failed: 0, ended: 0, inARow: 0 };
}

function makeWorld(waves: readonly WaveShape[], budget: Budget | undefined): World {
  const fails = new Map<string, boolean>();
  const open = waves.map((shape, ordinal): OpenWave => {
    const queue = shape.targets.map((target, index): WaitingTarget => {
      const databaseId = `${ordinal}-${index}`;
      fails.set(databaseId, target.fails);
      const serverId = SERVERS[target.server] ?? '';
      return {
        ...{ databaseId, serverId, serverName: serverId, tries: 0, tenantId: databaseId, slug: databaseId },
        ...{ region: 'eu', tier: 'standard', labels: {} },
      };
    });
    const { parallel, perServer, failures } = shape;
    const wave = { ordinal, parallel, perServer, budget: { failures } } as OpenWave['wave'];
    const tally = emptyTally(queue.length) as OpenWave['tally'];
    return { wave, tally, queue, head: 0, inFlight: 0, gates: undefined };
  });
  const world: World = { open, flying: [], fails, bounds: {} as Bounds };
  world.bounds = {
    ...{ now: NOW, budget, tally: emptyTally(fails.size), inFlight: 0, outages: new Map() },
    onServer: (serverId) => onServer(world, serverId),
  };
  return world;
}

function onServer({ flying }: World, serverId: string): number {
  return flying.filter(({ target }) => target.serverId === serverId).length;
}

/** Starts what is picked, and checks each bound with it in flight. */
function start(world: World): void {
  const { open: all, bounds, flying, fails } = world;
  const over = new Set(all.filter((open) => exceeded(open.wave.budget, open.tally) !== undefined));
  const overAll = bounds.budget !== undefined && exceeded(bounds.budget, bounds.tally) !== undefined;
  const picks = pickTargets(all, bounds);
  for (const { open, index, target } of picks) {
    assert.equal(open.queue[index], target, 'taken once');
    assert.ok(target.tries > 0 || (!over.has(open) && !overAll), 'nothing fresh over a budget');
    open.queue[index] = null;
    open.inFlight += 1;
    bounds.inFlight += 1;
    flying.push({ open, target, fails: fails.get(target.databaseId) ?? false });
    assert.ok(onServer(world, target.serverId) <= open.wave.perServer, 'perServer');
  }
  for (const open of all) assert.ok(open.inFlight <= open.wave.parallel, 'parallel');
  const mayGoOn = (open: OpenWave): boolean =>
    open.queue.some((target) => target !== null) && !over.has(open);
  if (flying.length === 0 && !overAll) assert.ok(!all.some(mayGoOn), 'nothing stands still for nothing');
}

function end(world: World, nth: number): void {
  const [ended] = world.flying.splice(nth % world.flying.length, 1);
  if (ended === undefined) return;
  ended.open.inFlight -= 1;
  world.bounds.inFlight -= 1;
  for (const tally of [world.bounds.tally, ended.open.tally]) {
    tally.ended += 1;
    if (ended.fails) tally.failed += 1;
    tally.inARow = ended.fails ? tally.inARow + 1 : 0;
  }
}

function play(world: World, order: readonly number[]): void {
  start(world);
  for (const nth of order) {
    if (world.flying.length === 0) return;
    end(world, nth);
    start(world);
  }
}

describe('picking targets', () => {
  it('keeps parallel, perServer and budgets in whatever order targets end', () => {
    fc.assert(
      fc.property(
        fc.array(anyWave, { minLength: 1, maxLength: 3 }),
        anyBudget,
        anyOrder,
        (waves, budget, order) => {
          const world = makeWorld(waves, budget);
          play(world, order);
          for (const { wave, tally } of world.open) {
            const bears = borne(wave.budget.failures, tally.base);
            assert.ok(tally.failed <= Math.max(bears + 1, wave.parallel), 'overshoots by less than parallel');
          }
          if (budget === undefined) return;
          const together = world.open.reduce((sum, { wave }) => sum + wave.parallel, 0);
          const { failed } = world.bounds.tally;
          assert.ok(failed <= Math.max(borne(budget.failures, failed) + 1, together));
        },
      ),
      RUNS,
    );
  });

  it('ends with every target where nothing fails', () => {
    fc.assert(
      fc.property(fc.array(anyWave, { minLength: 1, maxLength: 3 }), anyOrder, (waves, order) => {
        const well = waves.map((wave) => ({
          ...wave,
          targets: wave.targets.map((target) => ({ ...target, fails: false })),
        }));
        const world = makeWorld(well, { failures: 0 });
        play(world, order);
        assert.ok(world.open.every(isDrained));
      }),
      RUNS,
    );
  });

  it('tries one target of a server that was away, when its instant has come', () => {
    const outage = (nextTryAt: Date) => ({
      serverId: 's1',
      server: 's1',
      since: NOW,
      tries: 1,
      nextTryAt,
      ...GONE,
    });
    fc.assert(
      fc.property(anyWave, fc.boolean(), (shape, isDue) => {
        const world = makeWorld([shape], undefined);
        const at = new Date(NOW.getTime() + (isDue ? -1 : 1));
        const bounds = { ...world.bounds, outages: new Map([['s1', outage(at)]]) };
        const there = pickTargets(world.open, bounds).filter(({ target }) => target.serverId === 's1');
        assert.ok(there.length <= (isDue ? 1 : 0));
      }),
      RUNS,
    );
  });

  it('runs over budget only what a person wants to be tried again', () => {
    const targets = [false, false, false].map((fails) => ({ server: 0, fails }));
    const world = makeWorld([{ parallel: 8, perServer: 8, failures: 0, targets }], undefined);
    const [open] = world.open;
    assert.ok(open);
    open.tally.failed = 1;
    const [, again] = open.queue;
    assert.ok(again);
    again.tries = 1;
    assert.deepEqual(
      pickTargets(world.open, world.bounds).map(({ target }) => target),
      [again],
    );
  });
});
