import assert from 'node:assert/strict';
import type { Rollout, RolloutTarget, RolloutWave, TargetCounts } from '../../../contract/rollout.ts';
import { renderRolloutPlan } from '../../../fleet-cli/output/rollout-plan.ts';

const plain = (_tone: string, text: string) => text;
const none = { pending: 0, running: 0, verified: 0, failed: 0, unreachable: 0 };
const counts: TargetCounts = { ...none, deferred: 0, skipped: 0, unknown: 0, undone: 0 };

const PLAN: Rollout = {
  id: '0190d5a0-0000-7000-8000-000000000000',
  release: '2026.11.2',
  state: 'planned',
  cause: null,
  author: 'admin',
  approve: false,
  approvedBy: null,
  approvedAt: null,
  queuedAt: null,
  supersededBy: null,
  total: 0,
  counts,
  version: 1,
  createdAt: '2026-11-21T10:00:00.000Z',
  startedAt: null,
  finishedAt: null,
  waves: [],
  targets: [],
};

const CONTRACT = { steps: ['003_drop'], instances: [], tenants: [], elsewhere: 0 };

describe('a plan with contract steps', () => {
  it('shows who keeps it from being started', () => {
    const instance = '11111111-1111-4111-8111-111111111111';
    const text = renderRolloutPlan(
      {
        ...PLAN,
        contract: {
          ...CONTRACT,
          instances: [
            {
              instance,
              region: 'eu',
              appVersion: '2.3.0',
              acceptsSchema: { min: null, max: null },
              lastSeen: '2026-11-21T09:59:58.000Z',
              reason: '003_drop requires 2.4.0',
            },
          ],
          tenants: [
            {
              tenant: 'acme',
              region: 'us',
              state: 'suspended',
              schemaVersion: '001_notes',
              needs: '002_fill',
            },
          ],
          elsewhere: 2,
        },
      },
      plain,
    );
    assert.match(text, /cannot start: contract steps wait \(003_drop\)/);
    assert.match(text, new RegExp(`app ${instance} +eu +2\\.3\\.0 .*003_drop requires 2\\.4\\.0`));
    assert.match(text, /tenant acme \(suspended\) +us +001_notes .*lacks 002_fill/);
    assert.match(text, /and 2 in regions that you may not see/);
  });

  it('says nothing when nobody does', () => {
    assert.ok(!renderRolloutPlan({ ...PLAN, contract: CONTRACT }, plain).includes('cannot start'));
    assert.ok(!renderRolloutPlan(PLAN, plain).includes('cannot start'));
  });
});

describe('a plan with budgets', () => {
  it('says what a share bears in targets', () => {
    const wave = (failures: number | string, total: number): RolloutWave => ({
      ...{ name: `w${total}`, implicit: false, state: 'pending', parallel: 8, perServer: 8 },
      ...{ budget: { failures }, total, counts, dependsOn: [], regions: 'sequence' },
      ...{
        gates: [],
        bakeSeconds: 0,
        bakeUntil: null,
        approve: false,
        approvedBy: null,
        approvedAt: null,
        waivedBy: null,
      },
      ...{ startedAt: null, finishedAt: null },
    });
    const waves = [wave('1%', 50), wave('2%', 103), wave(3, 20)];
    const deferred = (notBefore: string | null): RolloutTarget => ({
      ...{
        tenant: 'acme',
        region: 'eu',
        server: 's',
        wave: 'w103',
        state: 'deferred',
        missing: [],
        notBefore,
      },
      ...{ error: null, reason: null, tries: 0, progress: null, durationMs: null },
      ...{ startedAt: null, finishedAt: null },
    });
    const later = '2026-11-22T10:00:00.000Z';
    const targets = [deferred(null), deferred(null), deferred(null), deferred(later)];
    const text = renderRolloutPlan({ ...PLAN, waves, targets }, plain);
    assert.match(text, /w50 .* 1% of 50: none /);
    assert.match(text, /w103 .* 2% of 100: 2 /);
    assert.match(text, /w20 +20 +8 +8 +3 /);
  });
});
