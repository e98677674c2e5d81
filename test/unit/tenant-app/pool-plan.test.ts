import assert from 'node:assert/strict';
import fc from 'fast-check';
import { growsIn, leastMissed, mustYield, need, takesIn } from '../../../tenant-app/routing/pool-plan.ts';
import type { Connection, Entry, Waiter } from '../../../tenant-app/routing/pool-state.ts';

const NOW = 1_000_000;
const RUNS = { seed: 4, numRuns: 1_000 };

/** What the plan reads of an entry: `waits` and `idle` in milliseconds up to NOW. */
function entryOf(state: {
  waits?: number[];
  idle?: number[];
  total: number;
  opening?: number;
  fullUntil?: number;
  server?: string;
}): Entry {
  const sorted = (ages: number[] = []) => [...ages].sort((a, b) => b - a);
  return {
    route: { serverId: state.server ?? 's1' },
    total: state.total,
    opening: state.opening ?? 0,
    fullUntil: state.fullUntil ?? 0,
    queue: sorted(state.waits).map((age) => ({ since: NOW - age }) as Waiter),
    idle: sorted(state.idle).map((age) => ({ idleSince: NOW - age }) as Connection),
  } as unknown as Entry;
}

const ages = fc.array(fc.integer({ min: 0, max: 60_000 }), { maxLength: 5 });
const anyEntry = fc
  .record({ waits: ages, idle: ages, busy: fc.nat(3), server: fc.constantFrom('s1', 's2') })
  .map(({ busy, ...state }) => entryOf({ ...state, total: state.idle.length + busy }));

describe('the plan of the pools', () => {
  it('gives a tenant its first connection at once', () => {
    assert.equal(growsIn(entryOf({ waits: [0], total: 0 }), 1_000, NOW), 0);
    assert.equal(takesIn(entryOf({ waits: [0], total: 0 }), NOW), 0);
  });

  it('gives another one to those who have waited, the later the more are being opened', () => {
    const cases: [waits: number[], own: number, openings: number, growsInMs: number][] = [
      [[0], 0, 0, 5],
      [[4], 0, 0, 1],
      [[5], 0, 0, 0],
      [[5], 0, 9, 45],
      [[0], 0, 1_000, 100],
      // The first of those who wait gets the one that is being opened.
      [[500, 0], 1, 1, 10],
      [[500, 10], 1, 1, 0],
    ];
    for (const [waits, opening, openings, expected] of cases) {
      const found = growsIn(entryOf({ waits, total: 1 + opening, opening }), openings, NOW);
      assert.equal(found, expected, JSON.stringify({ waits, opening, openings }));
    }
  });

  it('takes another tenant’s connection the later the more there are already', () => {
    assert.equal(takesIn(entryOf({ waits: [0], total: 1 }), NOW), 500);
    assert.equal(takesIn(entryOf({ waits: [50], total: 3 }), NOW), 1_450);
    assert.equal(takesIn(entryOf({ waits: [500], total: 1 }), NOW), 0);
  });

  it('does not ask a server that has just had no place, unless for a first connection', () => {
    const waiting = { waits: [60], total: 1, fullUntil: NOW + 700 };
    assert.equal(growsIn(entryOf(waiting), 0, NOW), 700);
    assert.equal(growsIn(entryOf({ ...waiting, total: 0 }), 0, NOW), 0);
    assert.equal(growsIn(entryOf({ ...waiting, fullUntil: NOW }), 0, NOW), 0);
  });

  it('closes a spare connection before a tenant’s only one, unless that has long been of no use', () => {
    const spare = entryOf({ idle: [0, 0], total: 2 });
    const quiet = entryOf({ idle: [29_000], total: 1 });
    const gone = entryOf({ idle: [31_000], total: 1 });
    const choice = { serverId: undefined, mayTake: true, now: NOW };
    assert.equal(leastMissed([quiet, spare], choice), spare);
    assert.equal(leastMissed([spare, gone, quiet], choice), gone);
    assert.equal(leastMissed([quiet], choice), quiet);
    assert.equal(leastMissed([spare, quiet], { ...choice, mayTake: false }), undefined);
    assert.equal(leastMissed([spare, quiet, gone], { ...choice, mayTake: false }), gone);
    assert.equal(leastMissed([gone], { ...choice, serverId: 's2' }), undefined);
  });

  it('never closes a busy connection, nor one of another server than the full one', () => {
    const choices = fc.record({ serverId: fc.constantFrom(undefined, 's1', 's2'), mayTake: fc.boolean() });
    fc.assert(
      fc.property(fc.array(anyEntry, { maxLength: 6 }), choices, (entries, choice) => {
        const fits = (entry: Entry): boolean =>
          entry.idle.some((idle) => choice.mayTake || NOW - idle.idleSince >= 30_000) &&
          (choice.serverId === undefined || entry.route.serverId === choice.serverId);
        const found = leastMissed(entries, { ...choice, now: NOW });
        assert.equal(found === undefined, !entries.some(fits));
        assert.ok(found === undefined || fits(found));
      }),
      RUNS,
    );
  });

  it('serves who has no connection first, then who has waited longest', () => {
    const none = entryOf({ waits: [1], total: 0 });
    const older = entryOf({ waits: [2], total: 0 });
    const more = entryOf({ waits: [2_000], total: 1 });
    assert.deepEqual(
      [more, none, older].sort((a, b) => need(a) - need(b)),
      [older, none, more],
    );
  });

  it('lets a connection go to one who has waited 100 ms longer than its own tenant', () => {
    const busy = entryOf({ waits: [50], total: 2 });
    assert.equal(mustYield(busy, []), false);
    assert.equal(mustYield(busy, [entryOf({ waits: [150], total: 0 })]), false);
    assert.equal(mustYield(busy, [entryOf({ waits: [151], total: 0 })]), true);
    assert.equal(mustYield(busy, [busy, entryOf({ waits: [151], total: 0 })]), true);
    // To one who has none, or who has fewer even afterwards.
    assert.equal(mustYield(busy, [entryOf({ waits: [900], total: 1 })]), false);
    assert.equal(mustYield(entryOf({ waits: [50], total: 3 }), [entryOf({ waits: [900], total: 1 })]), true);
    assert.equal(mustYield(entryOf({ waits: [50], total: 1 }), [entryOf({ waits: [900], total: 0 })]), true);
    assert.equal(mustYield(entryOf({ total: 1 }), [entryOf({ waits: [900], total: 0 })]), false);
  });
});
