import assert from 'node:assert/strict';
import type { Rehearsal } from '../../../contract/rehearsal.ts';
import {
  estimateText,
  gapsText,
  rehearsalLine,
  rehearsalText,
  renderRehearsal,
} from '../../../fleet-cli/output/rehearsal-view.ts';

const plain = (_tone: string, text: string) => text;
const ID = '0190d5a0-0000-7000-8000-000000000000';

const FOUND: Rehearsal = {
  ...{ id: ID, rolloutId: ID, release: '2026.11.2', state: 'succeeded', total: 200, error: null },
  counts: { pending: 0, passes: 197, fails: 1, not_rehearsed: 1, busy: 1, unreachable: 0, skipped: 0 },
  ...{ actor: 'admin', reason: null, lockTimeoutMs: 200, maxHoldMs: 2_000, clones: 0 },
  createdAt: '2026-11-21T10:00:00.000Z',
  startedAt: '2026-11-21T10:00:00.000Z',
  finishedAt: '2026-11-21T10:00:12.500Z',
  partly: 1,
  untried: ['005_fill'],
  migrations: [
    { name: '004_brief', targets: 199, passed: 198, failed: 1, untried: 0 },
    { name: '005_fill', targets: 199, passed: 0, failed: 0, untried: 199 },
  ],
  failures: [
    {
      code: 'migration_failed',
      message: '004_brief failed at line 1 of its SQL',
      fix: 'mend the data',
      tenants: ['acme'],
    },
  ],
  gaps: [
    {
      code: 'busy',
      message: 'blocked by pid 4',
      tenants: Array.from({ length: 9 }, (_none, at) => `t${at}`),
    },
  ],
  lockWaitMs: { median: 0, max: 210 },
  heldMs: { median: 12, max: 480 },
  tables: [
    {
      ...{ table: 'orders', migration: '003_code', lock: 'AccessExclusive', targets: 199 },
      ...{ rewritten: 199, maxBytes: 52_428_800, maxMs: 470 },
    },
    {
      table: 'items',
      migration: '003_code',
      lock: 'RowShare',
      targets: 199,
      rewritten: 0,
      maxBytes: 0,
      maxMs: 3,
    },
  ],
  estimate: { seconds: 200.4, basis: 'rehearsal', perWave: [], unmeasured: ['005_fill'] },
  targets: [],
};

describe('a rehearsal on the screen', () => {
  it('says first who would fail and why, then what could not be tried, what is locked, and how long it takes', () => {
    const text = renderRehearsal(FOUND, plain);
    assert.match(
      text,
      /^would fail\n✖ migration_failed × 1: acme\n {4}004_brief failed.*\n {4}mend the data\n\nnot, or/,
    );
    assert.match(text, /! busy × 9: t0, .*t7 and 1 more\n/);
    assert.match(
      text,
      /orders +003_code +AccessExclusive +reads and writes +470 ms +199 of them, up to 50 MB +199\n/,
    );
    assert.doesNotMatch(text, /items/, 'what blocks nobody is left out');
    assert.match(
      text,
      /targets +200 total · 197 pass · 1 would fail · 1 pass what can be tried in place · 1 busy\n/,
    );
    assert.match(text, /state +✖ finished\n/, 'that it is over is not what matters');
    assert.match(text, /tried nowhere +005_fill\n/);
    assert.match(text, /005_fill +199 +0 +0 +0 +199\n/);
    assert.match(text, /locks held +median 12 ms, longest 480 ms, never over 2000 ms\n/);
    assert.match(text, /rollout takes +at least 3 m 20 s, by the rehearsal; 005_fill not measured\n/);
    assert.match(text, /took +12\.5s/);
  });

  it('is a header when all is well', () => {
    const counts = { ...FOUND.counts, passes: 200, fails: 0, not_rehearsed: 0, busy: 0 };
    const whole = { partly: 0, untried: [], migrations: FOUND.migrations.slice(0, 1) };
    const text = renderRehearsal({ ...FOUND, ...whole, counts, failures: [], gaps: [], tables: [] }, plain);
    assert.match(text, /^rehearsal/);
    assert.match(text, /state +✔ finished\n/);
    assert.doesNotMatch(text, /nowhere|UNTRIED/i);
    assert.equal(gapsText({ ...FOUND, ...whole }), undefined);
  });

  it('names what was tried on some targets only', () => {
    const migrations = [
      { name: '005_fill', targets: 3, passed: 1, failed: 0, untried: 2 },
      { name: '006_rest', targets: 3, passed: 0, failed: 0, untried: 3 },
    ];
    assert.equal(
      gapsText({ ...FOUND, untried: ['006_rest'], migrations }),
      '006_rest was tried nowhere, 005_fill was tried on 1 of 3 targets',
    );
    const some = { ...FOUND, untried: [], counts: { ...FOUND.counts, fails: 0 }, migrations };
    assert.match(renderRehearsal(some, plain), /state +! finished\n/);
  });

  it('is one line in a plan, and while it runs', () => {
    assert.match(
      rehearsalText(FOUND, plain) ?? '',
      /^200 total .* 1 busy, \d+\w ago; 005_fill was tried nowhere: --clone$/,
    );
    assert.equal(rehearsalText(null, plain), undefined);
    assert.equal(rehearsalLine(FOUND), 'rehearsed 200/200 · 1 would fail');
    assert.equal(estimateText(null), undefined);
    const quick = { seconds: 0.4, basis: 'history' as const, perWave: [], unmeasured: [] };
    assert.equal(estimateText(quick), 'about 0.4 s, by earlier rollouts');
    assert.equal(
      estimateText({ ...quick, seconds: 20.3 }, '2 targets later'),
      'at least 20 s, by earlier rollouts; 2 targets later',
    );
    assert.equal(estimateText({ ...quick, seconds: 7_500 }), 'about 2 h 5 m, by earlier rollouts');
  });
});
