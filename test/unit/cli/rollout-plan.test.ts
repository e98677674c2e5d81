import assert from 'node:assert/strict';
import type { Rollout, TargetCounts } from '../../../contract/rollout.ts';
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
