import assert from 'node:assert/strict';
import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import type { RolloutProgress } from '../../../contract/progress.ts';
import type { Size } from '../../../fleet-cli/output/fit.ts';
import { rolloutFrame } from '../../../fleet-cli/output/rollout-frame.ts';
import type { Paint } from '../../../fleet-cli/output/style.ts';
import { ago, backfill, counts, gate, ID, inFlight, NOW, progress, wave } from './progress.ts';

const plain: Paint = (_tone, text) => text;
const coloured: Paint = (_tone, text) => `\u001b[31m${text}\u001b[39m`;
const WIDE: Size = { columns: undefined, rows: undefined };

function frame(given: Partial<RolloutProgress> = {}, size: Size = WIDE): string[] {
  return rolloutFrame(progress(given), plain, size, Date.parse(NOW));
}
const text = (given: Partial<RolloutProgress> = {}): string => frame(given).join('\n');

const measured = gate('errors', {
  state: 'measuring',
  counts: { success: 1, failure: 1, inconclusive: 0, error: 0, missed: 0 },
  nextAt: ago(-20),
  last: {
    gate: 'errors',
    scope: 'wave',
    wave: 'eu',
    tenant: null,
    outcome: 'failure',
    value: 0.023_456,
    samples: 900,
    message: 'above the maximum of 0.01',
    measuredAt: ago(10),
  },
});

/** Everything at once, and much of it. */
const crowded = progress({
  state: 'halted',
  cause: {
    code: 'budget_exceeded',
    message: 'wave eu: 12 of 400 targets failed, its budget bears 4; the first: cogs',
    actor: 'engine',
    fix: `fleet rollout get ${ID} shows each error; repair, then fleet rollout retry ${ID}`,
  },
  waves: Array.from({ length: 30 }, (_, index) =>
    wave(`wave-${index}`, index < 20 ? 'passed' : index === 20 ? 'failed' : 'pending', {
      gates: index === 20 ? [measured] : [],
    }),
  ),
  inFlight: Array.from({ length: 50 }, (_, index) => inFlight(`tenant-${index}`)),
  outages: [
    {
      server: 'eu-3',
      region: 'eu',
      since: ago(130),
      tries: 4,
      nextTryAt: ago(-12),
      targets: 14,
      error: { code: 'server_unreachable', message: 'connect ECONNREFUSED' },
    },
  ],
  deferred: [
    {
      reason: 'outside its window',
      count: 14,
      nextAt: ago(-18_120),
      example: { tenant: 'dune', region: 'eu', server: 'eu-1' },
    },
  ],
});

describe('the picture of a rollout', () => {
  it('has a header, a bar for each wave that adds up, and what has happened', () => {
    const said = text();
    assert.match(said, new RegExp(`^rollout ● running {2}${ID}\\nrelease 2026\\.11\\.2\\n`));
    assert.match(said, /by +anna · approved by ben\n/);
    assert.match(said, /time +4m 12s · about 3m 12s left \(17:07:24Z\)\n/);
    const late = text({ eta: { at: '2026-11-24T01:00:00.000Z', seconds: 200_000, until: 'end' } });
    assert.match(late, /left \(2026-11-24 01:00:00Z\)\n/);
    assert.match(said, /targets 250\/500 done · 2 running · 1 failed\n/);
    assert.match(said, /canary {2}█{24} +10\/10 {2}✔ passed\n/);
    assert.match(said, /eu {6}█{14}▒▓░{8} {2}240\/400 {2}● running {2}2 running, 1 failed\n/);
    assert.match(said, /17:01:12Z {2}wave eu began \(engine\)\n/);
    assert.match(said, /17:00:00Z {2}started \(anna\) "release of the week"$/);
  });

  it('names what is in flight: tenant, server, migration, for how long, and tries', () => {
    const said = text({ counts: counts({ running: 60 }) });
    assert.match(said, /in flight, and 58 more\n/);
    assert.match(
      said,
      / {2}acme {2}eu-1 {2}0042_index {4}42s\n {2}bolt {2}eu-1 {2}0041_columns {2}2s · try 2\n/,
    );
    const orphan = text({ inFlight: [inFlight('acme', { state: 'unknown' })] });
    assert.match(orphan, /acme .* 42s · its worker died; its database is asked/);
  });

  it('groups failures, with one example, how to see the others, and no line break of a message', () => {
    const said = text();
    assert.match(
      said,
      /✖ migration_failed × 1, e\.g\. cogs \(eu-2\)\n {6}column "due" of relation "tasks" contains/,
    );
    assert.match(said, new RegExp(`all: fleet rollout get ${ID} --state failed\n`));
    assert.match(said, new RegExp(`one: fleet rollout get ${ID} --target cogs\n`));
    const error = { code: 'x', message: 'red \u001b[31malert\u0007\r\nnext' };
    const hostile = text({ failures: [{ code: 'x', count: 1, error, example: inFlight('acme') }] });
    assert.match(hostile, /red \[31malert next/);
  });

  it('says why it is halted and what to do next, in lines that fit', () => {
    const lines = rolloutFrame(crowded, plain, { columns: 60, rows: undefined }, Date.parse(NOW));
    const said = lines.join('\n');
    assert.match(said, /^rollout ✖ halted/);
    assert.match(
      said,
      /cause {3}budget_exceeded: wave eu: 12 of 400 targets failed,\n {8}its budget bears 4; the/,
    );
    assert.match(said, /next {4}fleet rollout get/);
    assert.match(text({ state: 'paused', cause: null }), new RegExp(`next +fleet rollout resume ${ID}\n`));
    const waits = text({ state: 'awaiting_approval', startedAt: null });
    assert.match(waits, new RegExp(`somebody else than its author: fleet rollout approve ${ID}\n`));
  });

  it('shows an aborted rollout as what it is: not done, who lacks it, and what can be done', () => {
    const example = { tenant: 'dune', region: 'eu', server: 'eu-1' };
    const said = text({
      ...{ state: 'aborted', cause: null, finishedAt: NOW, eta: null, total: 17 },
      counts: counts({ verified: 14, skipped: 3 }),
      inFlight: [],
      failures: [],
      waves: [
        wave('canary', 'passed', { counts: counts({ verified: 4 }) }),
        wave('rest', 'failed', { counts: counts({ verified: 10, skipped: 2 }) }),
        wave('last', 'pending', { counts: counts({ skipped: 1 }) }),
      ],
      skipped: [
        { reason: 'aborted', by: null, notReached: true, count: 2, example },
        {
          reason: 'broken',
          by: 'anna',
          notReached: false,
          count: 1,
          example: { ...example, tenant: 'cogs' },
        },
      ],
    });
    assert.match(said, /^rollout ✖ aborted/);
    assert.match(said, /targets 14\/17 done · 2 not reached · 1 skipped\n/);
    assert.match(said, /rest {4}█{20}─{4} {2}10\/12 {2}! stopped {2}2 skipped\n/);
    assert.match(said, /last {4}─{24} {4}0\/1 {2}○ not begun {2}1 skipped\n/);
    assert.match(
      said,
      /○ 2 not reached before the abort, e\.g\. dune\n {2}○ 1 broken \(anna\), e\.g\. cogs\n/,
    );
    const next = `14 of 17 databases have it: bring the others along (fleet rollout start --release 2026.11.2 --supersede ${ID})`;
    assert.ok(said.includes(next), said);
    assert.ok(said.includes(`take it back (fleet rollout undo ${ID})`));
    assert.ok(said.includes(`fleet rollout get ${ID} --state skipped`));
  });

  it('names what has taken its place, and of an undo what was to be taken back', () => {
    const aborted = { state: 'aborted' as const, cause: null };
    assert.match(text({ ...aborted, supersededBy: 'other' }), /next +fleet rollout get other/);
    assert.match(text({ ...aborted, undoOf: 'other' }), /next +.*fleet rollout undo other/);
    assert.match(text({ ...aborted, counts: counts({ skipped: 500 }) }), /next +no database has it/);
    assert.doesNotMatch(text({ ...aborted, startedAt: null }), /next/);
  });

  it('counts a bake down, and shows each gate with its state, last value and limit', () => {
    const baking = wave('eu', 'baking', {
      bakeUntil: ago(-130),
      gates: [measured, gate('rows', { dryRun: true })],
    });
    const said = text({
      waves: [baking],
      gateLimits: { errors: 'requests.error_rate: at most 0.01, over 5m' },
    });
    assert.match(said, /● baking {2}bakes 2m 10s more\n/);
    const last = 'last 0.02346 (above the maximum of 0.01)';
    const limit = 'limit: requests.error_rate: at most 0.01, over 5m';
    assert.ok(
      said.includes(`gate errors  ● measuring · 1/3 · 1 did not · ${last} · next in 20s · ${limit}\n`),
      said,
    );
    assert.match(said, /gate rows {2}○ waiting · 0\/3 · decides nothing\n/);
  });

  it('tells of a server that is away once, and when it is tried again', () => {
    const said = rolloutFrame(crowded, plain, WIDE, Date.parse(NOW)).join('\n');
    const line = 'eu-3 (eu) does not answer for 2m 10s: 14 targets wait · tried again in 12s (4 in vain)';
    assert.ok(said.includes(`  ✖ ${line} · connect ECONNREFUSED\n`), said);
    assert.match(said, /! 14 outside its window, e\.g\. dune · first at 2026-11-21T22:06Z, in 5h 2m\n/);
  });

  it('shows rows, pace, time left and time held of backfills, and why one is held', () => {
    const held = backfill({
      heldMs: 3_720_000,
      reason: 'a replica is 5 s behind',
      etaSeconds: 7_300,
      quarantined: 2,
    });
    const said = text({
      inFlight: [
        inFlight('acme', { migration: '0043_fill', backfill: backfill({}) }),
        inFlight('bolt', { migration: '0043_fill', backfill: held }),
      ],
      backfills: [
        {
          migration: '0043_fill',
          ...{ running: 2, held: 1, waiting: 3, rowsDone: 500_000, rowsEstimated: 2_000_000 },
          ...{ heldMs: 3_720_000, etaSeconds: 7_300, reason: 'a replica is 5 s behind' },
        },
      ],
    });
    assert.match(said, /acme .* 42s · 250,000 of ~1,000,000 rows \(25 %\) · 4,000 rows\/s · 3m 8s left\n/);
    assert.match(
      said,
      /bolt .* 42s · held: a replica is 5 s behind · 250,000 of .* left · held 1h 2m in all · 2 ranges left out\n/,
    );
    assert.match(
      said,
      /0043_fill: 2 running, 1 of them held · 3 left half way · 500,000 of ~2,000,000 rows \(25 %\)/,
    );
  });

  it('never hides a single failure in a large wave', () => {
    const large = wave('all', 'running', { counts: counts({ failed: 1, pending: 4_999 }) });
    assert.match(text({ waves: [large] }), /▒░{23}/);
  });

  it('keeps header and the waves that matter where there is not room for all', () => {
    const lines = rolloutFrame(crowded, plain, { columns: 80, rows: 24 }, Date.parse(NOW));
    assert.ok(lines.length <= 24);
    const said = lines.join('\n');
    assert.match(said, /^rollout ✖ halted/);
    assert.match(said, /wave-20 .*✖ failed/);
    assert.match(said, /gate errors/);
    assert.doesNotMatch(said, /wave-3 /);
  });

  it('is never longer or wider than the terminal, in colours or not', () => {
    const sizes = fc.record({
      columns: fc.integer({ min: 20, max: 200 }),
      rows: fc.integer({ min: 1, max: 80 }),
    });
    fc.assert(
      fc.property(
        sizes,
        fc.constantFrom(progress(), crowded),
        fc.constantFrom(plain, coloured),
        (size, of, paint) => {
          const lines = rolloutFrame(of, paint, size, Date.parse(NOW));
          assert.ok(lines.length <= size.rows);
          for (const line of lines) assert.ok(stripVTControlCharacters(line).length <= size.columns, line);
        },
      ),
      { seed: 20_261_121, numRuns: 300 },
    );
  });
});
