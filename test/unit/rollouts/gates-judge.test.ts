import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { MeasurementOutcome } from '../../../contract/gate.ts';
import type { GateRules } from '../../../control-plane/rollouts/gates/gate.ts';
import { gatesOf } from '../../../control-plane/rollouts/gates/gate.ts';
import { judge, verdictOf, type Judgement } from '../../../control-plane/rollouts/gates/judge.ts';
import { RolloutSpec } from '../../../contract/rollout.ts';

const RUNS = { numRuns: 1_000, seed: 20261121 };
const START = new Date('2026-11-21T12:00:00Z');
const OUTCOMES: Record<string, MeasurementOutcome> = {
  s: 'success',
  f: 'failure',
  i: 'inconclusive',
  e: 'error',
};

const RULES: GateRules = {
  count: 3,
  intervalMs: 30_000,
  failureLimit: 0,
  inconclusiveLimit: 0,
  consecutiveErrorLimit: 4,
};

function at(seconds: number): Date {
  return new Date(START.getTime() + seconds * 1_000);
}

/** Measures on time as judge says, with the outcomes of the text, and judges after the last. */
function play(rules: GateRules, outcomes: string): Judgement & { made: number; lastAt: Date } {
  const measured: { outcome: MeasurementOutcome; measuredAt: Date }[] = [];
  let now = START;
  for (const letter of outcomes) {
    const { nextAt } = judge(rules, measured, { startsAt: START, now });
    if (nextAt === null) break;
    now = nextAt > now ? nextAt : now;
    measured.push({ outcome: OUTCOMES[letter] ?? 'error', measuredAt: now });
  }
  return { ...judge(rules, measured, { startsAt: START, now }), made: measured.length, lastAt: now };
}

const letters = (extra: object = {}) =>
  fc.string({ unit: fc.constantFrom('s', 'f', 'i', 'e'), maxLength: 60, ...extra });
const anyRules = fc.record({
  count: fc.constantFrom(null, 1, 2, 5),
  intervalMs: fc.constantFrom(1_000, 5_000, 30_000, 300_000),
  failureLimit: fc.integer({ min: 0, max: 3 }),
  inconclusiveLimit: fc.integer({ min: 0, max: 3 }),
  consecutiveErrorLimit: fc.integer({ min: 0, max: 5 }),
});

describe('judging a gate', () => {
  const table: [string, Partial<GateRules>, string, number][] = [
    ['', {}, 'waiting', 0],
    ['s', {}, 'measuring', 1],
    ['sss', {}, 'passed', 3],
    ['s', { count: 1 }, 'passed', 1],
    ['sf', {}, 'failed', 2],
    ['fffsss', { failureLimit: 3 }, 'passed', 6],
    ['fffssf', { failureLimit: 3 }, 'failed', 6],
    ['i', {}, 'inconclusive', 1],
    ['isss', { inconclusiveLimit: 1 }, 'passed', 4],
    ['isis', { inconclusiveLimit: 1 }, 'inconclusive', 3],
    ['eeee', {}, 'measuring', 4],
    ['eeeee', {}, 'error', 5],
    ['eeeeseeeess', {}, 'passed', 11],
    ['eeeeieeeee', { inconclusiveLimit: 1 }, 'error', 10],
    ['e', { consecutiveErrorLimit: 0 }, 'error', 1],
    ['ssssssss', { count: null }, 'measuring', 8],
    ['ssf', { count: null }, 'failed', 3],
    ['sssf', {}, 'passed', 3],
  ];
  for (const [outcomes, rules, state, made] of table) {
    it(`says ${state} after "${outcomes}" with ${JSON.stringify(rules)}`, () => {
      const judgement = play({ ...RULES, ...rules }, outcomes);
      assert.deepEqual([judgement.state, judgement.made, judgement.counts.missed], [state, made, 0]);
      assert.equal(judgement.nextAt === null, !['waiting', 'measuring'].includes(state));
    });
  }

  it('measures at once, each interval, and 10 s after an error', () => {
    assert.deepEqual(play(RULES, '').nextAt, START);
    assert.deepEqual(play(RULES, 's').nextAt, at(30));
    assert.deepEqual(play(RULES, 'se').nextAt, at(40));
    assert.deepEqual(play(RULES, 'see').nextAt, at(50));
    assert.deepEqual(play({ ...RULES, intervalMs: 2_000 }, 'se').nextAt, at(4));
  });

  it('goes on in the grid of the start, however late a measurement was', () => {
    const late = [{ outcome: 'success' as const, measuredAt: at(14) }];
    assert.deepEqual(judge(RULES, late, { startsAt: START, now: at(14) }).nextAt, at(30));
  });

  it('counts what nobody measured as inconclusive, but for the time of a takeover', () => {
    const first = [{ outcome: 'success' as const, measuredAt: START }];
    assert.equal(judge(RULES, first, { startsAt: START, now: at(60) }).state, 'measuring');
    assert.equal(judge(RULES, first, { startsAt: START, now: at(74) }).state, 'measuring');
    const missed = judge(RULES, first, { startsAt: START, now: at(75) });
    assert.deepEqual([missed.state, missed.counts.missed], ['inconclusive', 1]);
    // Measuring after all makes it no better.
    const later = [...first, { outcome: 'success' as const, measuredAt: at(80) }];
    assert.equal(judge(RULES, later, { startsAt: START, now: at(80) }).state, 'inconclusive');
    const borne = judge({ ...RULES, inconclusiveLimit: 1 }, later, { startsAt: START, now: at(80) });
    assert.deepEqual([borne.state, borne.nextAt], ['measuring', at(90)]);
  });

  it('asks one after another where an answer takes longer than the interval, and misses nothing by it', () => {
    const slow = (seconds: number) => ({
      outcome: 'success' as const,
      measuredAt: at(seconds),
      tookMs: 100_000,
    });
    const one = judge(RULES, [slow(0)], { startsAt: START, now: at(100) });
    assert.deepEqual([one.state, one.counts.missed], ['measuring', 0]);
    assert.ok(one.nextAt && one.nextAt <= at(100), 'at once');
    const two = judge(RULES, [slow(0), slow(100)], { startsAt: START, now: at(200) });
    assert.deepEqual([two.state, two.counts.missed], ['measuring', 0]);
    const three = judge(RULES, [slow(0), slow(100), slow(200)], { startsAt: START, now: at(300) });
    assert.equal(three.state, 'passed');
    // Between two of them nobody was at work.
    const gap = judge(RULES, [slow(0), slow(200)], { startsAt: START, now: at(300) });
    assert.deepEqual([gap.state, gap.counts.missed], ['inconclusive', 3]);
  });

  it('misses nothing while another gate holds up the measurer', () => {
    const first = [{ outcome: 'success' as const, measuredAt: START }];
    const busy = [{ measuredAt: at(30), tookMs: 120_000 }];
    const held = judge(RULES, first, { startsAt: START, now: at(150), busy });
    assert.deepEqual([held.state, held.counts.missed], ['measuring', 0]);
    assert.ok(held.nextAt && held.nextAt <= at(150));
    const away = judge(RULES, first, { startsAt: START, now: at(200), busy });
    assert.deepEqual([away.state, away.counts.missed], ['inconclusive', 1]);
    const before = judge(RULES, first, { startsAt: START, now: at(29), busy });
    assert.deepEqual([before.state, before.nextAt], ['measuring', at(30)]);
  });

  it('misses nothing where it has no count to reach, or has not begun', () => {
    const watching = { ...RULES, count: null };
    assert.equal(judge(watching, [], { startsAt: START, now: at(10_000) }).state, 'waiting');
    assert.equal(judge(RULES, [], { startsAt: null, now: at(10_000) }).state, 'waiting');
    assert.equal(judge(RULES, [], { startsAt: at(20_000), now: at(10_000) }).counts.missed, 0);
  });

  it('leaves out what was measured before it began anew', () => {
    const old = [{ outcome: 'failure' as const, measuredAt: START }];
    assert.equal(judge(RULES, old, { startsAt: at(1), now: at(1) }).state, 'waiting');
  });
});

describe('judging a gate, whatever is measured', () => {
  it('passes nothing without its count of successes, and nothing over a limit', () => {
    fc.assert(
      fc.property(anyRules, letters(), (rules, outcomes) => {
        const { state, counts } = play(rules, outcomes);
        if (state === 'passed') {
          assert.ok(rules.count !== null && counts.success >= rules.count);
          assert.ok(counts.failure <= rules.failureLimit);
          assert.ok(counts.inconclusive + counts.missed <= rules.inconclusiveLimit);
        }
        assert.equal(state === 'failed', counts.failure > rules.failureLimit);
        if (counts.success === 0) assert.notEqual(state, 'passed');
      }),
      RUNS,
    );
  });

  it('keeps what was decided, whatever is measured later', () => {
    const offsets = fc.array(
      fc.tuple(fc.integer({ min: 0, max: 90_000 }), fc.constantFrom('s', 'f', 'i', 'e')),
      {
        maxLength: 30,
      },
    );
    fc.assert(
      fc.property(anyRules, offsets, fc.nat(30), (rules, steps, cut) => {
        let time = START.getTime();
        const rows = steps.map(([offset, letter]) => {
          time += offset;
          return { outcome: OUTCOMES[letter] ?? 'error', measuredAt: new Date(time) };
        });
        const early = rows.slice(0, cut);
        const then = judge(rules, early, { startsAt: START, now: early.at(-1)?.measuredAt ?? START });
        if (then.nextAt !== null) return;
        const now = judge(rules, rows, { startsAt: START, now: new Date(time + 1_000_000) });
        assert.deepEqual(now, then);
      }),
      RUNS,
    );
  });

  it('ends after a bounded number of measurements', () => {
    fc.assert(
      fc.property(anyRules, letters({ minLength: 60 }), (rules, outcomes) => {
        const { state, made } = play(rules, outcomes);
        if (rules.count === null) return;
        const conclusive = rules.count + rules.failureLimit + rules.inconclusiveLimit;
        assert.ok(made <= conclusive * (rules.consecutiveErrorLimit + 1) + rules.consecutiveErrorLimit);
        if (made < outcomes.length) assert.ok(['passed', 'failed', 'inconclusive', 'error'].includes(state));
      }),
      RUNS,
    );
  });

  it('asks neither too early nor twice for the same moment', () => {
    fc.assert(
      fc.property(anyRules, letters(), (rules, outcomes) => {
        const { nextAt, lastAt, made } = play(rules, outcomes);
        if (nextAt !== null && made > 0) assert.ok(nextAt > lastAt);
        if (nextAt !== null) assert.ok(nextAt.getTime() - lastAt.getTime() <= rules.intervalMs);
      }),
      RUNS,
    );
  });

  it('passes over no gap that is longer than it bears', () => {
    fc.assert(
      fc.property(anyRules, letters(), fc.integer({ min: 0, max: 20 }), (rules, outcomes, extra) => {
        if (rules.count === null) return;
        const before = play(rules, outcomes);
        if (before.nextAt === null) return;
        const gap = (rules.inconclusiveLimit + 2 + extra) * rules.intervalMs + 15_000;
        const now = new Date(before.lastAt.getTime() + gap);
        const measured = Array.from(outcomes, (letter) => OUTCOMES[letter] ?? 'error');
        const rows = measured
          .slice(0, before.made)
          .map((outcome) => ({ outcome, measuredAt: before.lastAt }));
        const after = [...rows, { outcome: 'success' as const, measuredAt: now }];
        assert.notEqual(judge(rules, after, { startsAt: START, now }).state, 'passed');
      }),
      RUNS,
    );
  });
});

describe('the verdict over all gates of a wave', () => {
  const spec = RolloutSpec.parse({
    release: 'r',
    gates: { probe: { http: 'http://x.example/' }, trial: { http: 'http://x.example/', dryRun: true } },
  });
  const [probe, trial] = gatesOf(spec, { name: 'all', bakeSeconds: 0 });
  const judged = (which: typeof probe, state: Judgement['state'], more: object = {}) => {
    assert.ok(which);
    const counts = { success: 0, failure: 1, inconclusive: 1, error: 5, missed: 0 };
    return {
      gate: which,
      judgement: { state, counts, nextAt: null },
      satisfied: state === 'passed',
      ...more,
    };
  };
  const place = { id: 'r1', wave: 'eu' };

  it('halts for a failure, pauses for no data and for a broken source, and says why', () => {
    const cases = [
      ['failed', 'halt', 'gate_failed', /failed once, it bears 0; the last: it is bad$/, 'retry'],
      ['inconclusive', 'pause', 'gate_inconclusive', /had too little data once; it bears 0/, 'resume'],
      ['error', 'pause', 'gate_error', /got no answer 5 times in a row, it bears 4/, 'resume'],
    ] as const;
    for (const [state, verdict, code, words, verb] of cases) {
      const found = verdictOf(place, [judged(probe, state, { lastMessage: 'it is bad' })]);
      assert.deepEqual([found.state, found.cause?.code], [verdict, code]);
      assert.match(found.cause?.message ?? '', words);
      assert.match(found.cause?.message ?? '', /^wave eu: gate probe /);
      assert.match(found.cause?.fix ?? '', new RegExp(`fleet rollout ${verb} r1`));
    }
  });

  it('takes the worst, and waits for all', () => {
    const both = (a: Judgement['state'], b: Judgement['state']) =>
      verdictOf(place, [judged(probe, a), judged(probe, b)]).state;
    assert.equal(both('inconclusive', 'failed'), 'halt');
    assert.equal(both('passed', 'error'), 'pause');
    assert.equal(both('passed', 'measuring'), 'wait');
    assert.equal(both('passed', 'passed'), 'go');
    assert.deepEqual(verdictOf(place, []), { state: 'go' });
  });

  it('lets no dry run decide, but measures it', () => {
    const nextAt = at(30);
    const dry = judged(trial, 'failed');
    assert.deepEqual(verdictOf(place, [dry]), { state: 'go' });
    assert.deepEqual(verdictOf(place, [judged(probe, 'passed'), judged(trial, 'inconclusive')]), {
      state: 'go',
    });
    const going = { ...dry, judgement: { ...dry.judgement, state: 'measuring' as const, nextAt } };
    assert.deepEqual(verdictOf(place, [going]), { state: 'go', nextAt });
  });
});
