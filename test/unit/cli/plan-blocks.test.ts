import assert from 'node:assert/strict';
import { GateSpec } from '../../../contract/gate.ts';
import type { Finding } from '../../../contract/lint.ts';
import type { Rollout, RolloutTarget } from '../../../contract/rollout.ts';
import type { MigrationSummary, ReleaseDiff, VersionDiff } from '../../../contract/schema-diff.ts';
import { gateText } from '../../../fleet-cli/output/gate-text.ts';
import {
  approvalText,
  lackingText,
  laterText,
  migrationsText,
  planBlocks,
} from '../../../fleet-cli/output/plan-blocks.ts';
import { renderReleaseDiff, renderRolloutDiff } from '../../../fleet-cli/output/schema-diff-view.ts';

const plain = (_tone: string, text: string) => text;

const migration = (name: string, more: Partial<MigrationSummary> = {}): MigrationSummary => ({
  ...{ name, phase: 'expand', requiresApp: null, transactional: true, reversible: true },
  ...{ outOfOrder: false, backfill: null, ...more },
});
const FILL = migration('2_fill', {
  ...{ phase: 'migrate', transactional: false },
  backfill: { table: 'tasks', key: ['id'], batch: 100, verify: null },
});
const DROP = migration('3_drop', { phase: 'contract', requiresApp: '2.4.0', reversible: false });

const WHOSE = { notBy: 'alice', roles: ['operator', 'admin'], approvedBy: null, approvedAt: null };
const PLAN: NonNullable<Rollout['plan']> = {
  migrations: [migration('1_add'), FILL, DROP],
  starts: [
    { from: '0', targets: 40, missing: ['1_add', '2_fill', '3_drop'] },
    { from: '1_add', targets: 1, missing: ['2_fill', '3_drop'] },
  ],
  lint: [],
  approvals: [
    { wave: null, ...WHOSE },
    { wave: 'canary', ...WHOSE, approvedBy: 'bob', approvedAt: '2026-11-23T10:00:00.000Z' },
  ],
  waiting: [],
  gates: {},
};

/** What these functions look at. */
function rollout(
  more: Partial<NonNullable<Rollout['plan']>> = {},
  targets: Partial<RolloutTarget>[] = [],
): Rollout {
  return { approve: true, plan: { ...PLAN, ...more }, targets } as unknown as Rollout;
}

describe('a plan on the command line', () => {
  it('says who lacks what, and what is not usual about it', () => {
    assert.equal(
      migrationsText(rollout()),
      '1_add\n2_fill (migrate, backfill of tasks)\n3_drop (contract, app >= 2.4.0, no way back)',
    );
    assert.equal(
      lackingText(rollout()),
      '40 targets lack 3: 1_add, 2_fill, 3_drop\n1 target lacks 2: 2_fill, 3_drop',
    );
    const starts = Array.from({ length: 8 }, () => ({
      from: null,
      targets: 2,
      missing: ['a', 'b', 'c', 'd', 'e'],
    }));
    assert.match(
      lackingText(rollout({ starts })) ?? '',
      /^2 targets lack 5: a, b, c, d and 1 more\n[^]*\nand 3 more$/,
    );
  });

  it('says how many targets do not run at once, and from when they do', () => {
    const group = (targets: number, first: string | null, state: 'deferred' | 'skipped' = 'deferred') => {
      return { wave: 'all', state, reason: null, targets, first, last: first, timeZone: 'Europe/Berlin' };
    };
    assert.equal(laterText(rollout()), undefined);
    assert.equal(laterText(rollout({ waiting: [group(3, null, 'skipped')] })), undefined);
    assert.equal(laterText(rollout({ waiting: [group(1, null)] })), '1 target later');
    const late = group(1, '2026-11-24T21:00:00.000Z');
    const soon = group(1, '2026-11-23T21:00:00.000Z');
    assert.equal(
      laterText(rollout({ waiting: [late, soon] })),
      '2 targets later (from 2026-11-23 22:00 Europe/Berlin)',
    );
    assert.equal(laterText(rollout({ waiting: [group(1, '9999-12-31T00:00:00.000Z')] })), '1 target later');
  });

  it('says whose word it needs, and who has given it', () => {
    assert.equal(
      approvalText(rollout()),
      'the plan: by another than alice, with the role operator or admin\n' +
        'after wave canary: given by bob at 2026-11-23T10:00:00.000Z',
    );
    assert.equal(approvalText(rollout({ approvals: [] })), '');
  });

  it("says who waits until when, on the clocks of the window's time zone", () => {
    const late = {
      wave: 'rest',
      state: 'deferred' as const,
      reason: 'outside its window',
      timeZone: 'Europe/Berlin',
    };
    const instants = { first: '2026-11-23T21:00:00.000Z', last: '2026-11-24T22:30:00.000Z' };
    const never = {
      ...late,
      timeZone: 'UTC',
      first: '9999-12-31T00:00:00.000Z',
      last: '9999-12-31T00:00:00.000Z',
    };
    const left = { ...late, state: 'skipped' as const, reason: 'broken', first: null, last: null };
    const [table] = planBlocks(
      rollout(
        {
          waiting: [
            { ...late, ...instants, targets: 2 },
            { ...never, reason: 'closed', targets: 3 },
            { ...left, targets: 1 },
          ],
        },
        [
          { tenant: 'acme', wave: 'rest', state: 'deferred', reason: late.reason, notBefore: instants.first },
          { tenant: 'bolt', wave: 'rest', state: 'skipped', reason: 'broken', notBefore: null },
        ],
      ),
      plain,
    );
    const lines = (table ?? '').split('\n');
    assert.match(
      lines[1] ?? '',
      /^2 targets +rest +outside its window +2026-11-23 22:00 Europe\/Berlin +2026-11-24 23:30 Europe\/Berlin +acme$/,
    );
    assert.match(lines[2] ?? '', /^3 targets +rest +closed +never +never/);
    assert.match(lines[3] ?? '', /^1 target +rest +left behind: broken +- +- +bolt$/);
  });

  it('shows the gates and what lint found, with the reasons', () => {
    const finding: Finding = {
      ...{
        rule: 'r',
        severity: 'error',
        migration: '1_add',
        location: '1_add.sql:3',
        file: '1_add.sql',
        line: 3,
      },
      ...{
        lock: 'SHARE',
        blocks: 'writes',
        message: 'locks',
        remedy: 'not so',
        migrations: [],
        allowed: 'small',
      },
    };
    const gates = { rows: GateSpec.parse({ sql: 'select\n  1', equals: 1 }) };
    const text = planBlocks(rollout({ gates, lint: [finding] }), plain).join('\n\n');
    assert.match(text, /^GATE +ASKS +EVERY\nrows +select 1, equals 1 +30s$/m);
    assert.match(text, /^lint\n1_add\.sql:3: allowed error: locks \[r\]\n.*\n {2}reason {3}small$/m);
  });

  it('asks gates in words', () => {
    const words = (gate: object): string => gateText(GateSpec.parse(gate));
    assert.equal(
      words({ metric: 'requests.error_rate', max: 0.01, minSamples: 50, dryRun: true }),
      'requests.error_rate over 5m, at most 0.01, 50 samples, decides nothing',
    );
    assert.equal(words({ http: 'https://x.example/ok' }), 'https://x.example/ok answers 200');
    assert.equal(words({ prometheus: 'http://p', query: 'up', min: 1 }), 'up at http://p, at least 1');
    assert.equal(words({ check: 'schema' }), 'schema');
    assert.equal(
      words({ metric: 'requests.latency_p95', maxIncrease: 2 }),
      'requests.latency_p95 over 5m, at most 2 times its value before',
    );
  });
});

describe('what changes of a schema, on the command line', () => {
  const VERSIONS: VersionDiff = {
    ...{ from: null, to: '2_fill', migrations: [migration('1_add'), FILL], absent: null },
    schema: {
      postgres: 18,
      summary: ['table a added'],
      diff: '--- empty database\n+++ 2_fill\n@@ -0,0 +1 @@\n+table a\n',
    },
  };

  it('is told in words, then as a diff, then for those who start elsewhere', () => {
    const few = { ...VERSIONS, from: '1_add', migrations: [FILL], schema: null, targets: 3 };
    const starts = [{ ...VERSIONS, targets: 40 }, few];
    assert.equal(
      renderRolloutDiff({ rollout: '', release: 'r', starts }, plain),
      [
        'the schema of 40 targets (the empty database → 2_fill)',
        '  table a added',
        '  data only: 2_fill, a backfill of tasks',
        '',
        '--- empty database',
        '+++ 2_fill',
        '@@ -0,0 +1 @@',
        '+table a',
        '',
        '3 targets from 1_add: 2_fill',
      ].join('\n'),
    );
    assert.equal(
      renderRolloutDiff({ rollout: '', release: 'r', starts: [] }, plain),
      'no target changes its schema',
    );
  });

  it('says why it is absent, or that nothing changes', () => {
    const absent = { code: 'no_server', message: 'no server answers', fix: 'fleet server list' };
    const starts = [{ ...VERSIONS, schema: null, absent, targets: 1 }];
    assert.match(
      renderRolloutDiff({ rollout: '', release: 'r', starts }, plain),
      /^the schema of 1 target .*\n {2}not shown: no server answers\n {2}fleet server list\n/,
    );
    const same = [{ ...VERSIONS, schema: { postgres: 18, summary: [], diff: '' }, targets: 1 }];
    assert.match(
      renderRolloutDiff({ rollout: '', release: 'r', starts: same }, plain),
      /\n {2}stays as it is\n/,
    );
  });

  it('lies between two releases', () => {
    const diff: ReleaseDiff = {
      ...VERSIONS,
      ...{ release: 'r2', fromRelease: 'r1', backwards: false, findings: [] },
    };
    assert.match(
      renderReleaseDiff(diff, plain),
      /^release r2 against release r1: 2 migrations\n {2}1_add\n {2}2_fill \(migrate, backfill of tasks\)\n\nthe schema /,
    );
    const none = { ...diff, migrations: [], fromRelease: null };
    assert.equal(renderReleaseDiff(none, plain), 'release r2 against the empty database: no difference');
    assert.match(renderReleaseDiff({ ...diff, backwards: true }, plain), /2 migrations taken back/);
  });
});
