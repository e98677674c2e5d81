import assert from 'node:assert/strict';
import type { Rollout, RolloutTarget, TargetCounts, TargetState } from '../../../contract/rollout.ts';
import { groupFailures, renderRollout, rolloutLine } from '../../../fleet-cli/output/rollout-view.ts';

const plain = (_tone: string, text: string) => text;

function counts(given: Partial<TargetCounts>): TargetCounts {
  const none = { pending: 0, running: 0, verified: 0, failed: 0, unreachable: 0 };
  return { ...none, deferred: 0, skipped: 0, unknown: 0, undone: 0, ...given };
}

function target(tenant: string, state: TargetState, message?: string): RolloutTarget {
  return {
    tenant,
    region: 'eu',
    server: 'eu-1',
    wave: 'eu',
    state,
    missing: [],
    error: message === undefined ? null : { code: 'migration_failed', message },
    reason: null,
    notBefore: null,
    progress: null,
    tries: 1,
    durationMs: null,
    startedAt: null,
    finishedAt: null,
  };
}

const wave = {
  implicit: false,
  parallel: 16,
  perServer: 16,
  budget: { failures: 0 },
  bakeSeconds: 0,
  bakeUntil: null,
  dependsOn: [],
  regions: 'sequence' as const,
  gates: [],
  approve: false,
  approvedBy: null,
  approvedAt: null,
  waivedBy: null,
  startedAt: null,
  finishedAt: null,
};

const halted: Rollout = {
  id: '0190d5a0-0000-7000-8000-000000000000',
  release: '2026.11.2',
  state: 'halted',
  cause: { code: 'budget_exceeded', message: '3 of 8 targets failed', actor: 'system' },
  author: 'admin',
  approve: false,
  approvedBy: null,
  approvedAt: null,
  queuedAt: null,
  supersededBy: null,
  total: 11,
  counts: counts({ verified: 7, failed: 3, running: 1 }),
  version: 3,
  createdAt: '2026-01-01T00:00:00.000Z',
  startedAt: '2026-01-01T00:00:00.000Z',
  finishedAt: null,
  waves: [
    { ...wave, name: 'canary', state: 'passed', total: 3, counts: counts({ verified: 3 }) },
    {
      ...wave,
      name: 'eu',
      state: 'failed',
      total: 8,
      counts: counts({ verified: 4, failed: 3, running: 1 }),
    },
  ],
  targets: [
    target('acme', 'failed', 'null value in column "x" of acme'),
    target('bolt', 'failed', 'null value in column "x" of bolt'),
    target('cogs', 'failed', 'relation "y" does not exist'),
    target('dune', 'verified'),
  ],
};

describe('the picture of a rollout', () => {
  it('has a bar for each wave that adds up, with what fails and why', () => {
    const text = renderRollout(halted, plain);
    assert.match(text, /state\s+✖ halted/);
    assert.match(text, /budget_exceeded: 3 of 8 targets failed \(system\)/);
    assert.match(text, /canary\s+█{24}\s+3\/3\s+✔ passed/);
    assert.match(text, /eu\s+█{12}▒{9}▓{3}\s+4\/8\s+✖ failed\s+1 running, 3 failed/);
    assert.match(text, /✖ migration_failed × 2, e\.g\. acme \(eu\)\n {4}null value/);
  });

  it('groups failures that differ in names and numbers only, most frequent first', () => {
    const groups = groupFailures(halted.targets);
    assert.deepEqual(
      groups.map((group) => [group.example, group.count]),
      [
        ['acme (eu)', 2],
        ['cogs (eu)', 1],
      ],
    );
  });

  it('never hides a single failure in a large wave', () => {
    const large = {
      ...wave,
      name: 'all',
      state: 'running' as const,
      total: 5000,
      counts: counts({ failed: 1 }),
    };
    assert.match(renderRollout({ ...halted, waves: [large] }, plain), /▒░{23}/);
  });

  it('is one line in a log', () => {
    assert.equal(rolloutLine(halted), 'halted: canary passed 3/3 · eu failed 4/8 · 3 failing');
  });
});
