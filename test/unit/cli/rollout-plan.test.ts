import assert from 'node:assert/strict';
import type { Rollout, RolloutTarget, RolloutWave, TargetCounts } from '../../../contract/rollout.ts';
import { rolloutView } from '../../../fleet-cli/output/rollout-view.ts';
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

describe('a plan that is not started', () => {
  const refused = { code: 'refused', message: 'its turn came', fix: 'fleet drift list', actor: 'engine' };
  const nothing = { migrations: [], starts: [], lint: [], approvals: [], waiting: [], gates: {} };

  it('says that it is in the queue, since when, and behind whom', () => {
    const behind = { id: 'other', release: '2026.11.1', state: 'running' };
    const text = renderRolloutPlan(
      { ...PLAN, queuedAt: '2026-11-21T10:00:00.000Z', plan: { ...nothing, behind } },
      plain,
    );
    assert.match(text, /state +○ planned \(queued\)\n/);
    assert.match(
      text,
      /queued .*since 2026-11-21T10:00:00\.000Z\), behind rollout other of release 2026\.11\.1, which is running\n/,
    );
  });

  it('says that it was refused when its turn came, why, and what to do', () => {
    const text = renderRolloutPlan({ ...PLAN, cause: refused }, plain);
    assert.match(text, /state +○ planned \(refused\)\n/);
    assert.match(text, /cause +refused: its turn came \(engine\)\n/);
    assert.match(text, /next +fleet drift list\n/);
    const [state] = rolloutView.columns.filter(({ title }) => title === 'state');
    assert.equal(state?.value({ ...PLAN, cause: refused }, plain), '○ planned (refused)');
    assert.equal(state?.value({ ...PLAN, queuedAt: PLAN.createdAt }, plain), '○ planned (queued)');
  });

  it('says why it cannot be started now, and then not how to start it', () => {
    const away = {
      code: 'servers_unreachable',
      message: 'away: eu-1',
      fix: 'bring it back',
      names: ['eu-1'],
    };
    const text = renderRolloutPlan({ ...PLAN, plan: { ...nothing, cannotStart: [away] } }, plain);
    assert.match(text, /cannot start now\n {2}✖ servers_unreachable: away: eu-1\n {6}bring it back$/);
    assert.doesNotMatch(text, /fleet rollout start/);
    assert.match(renderRolloutPlan(PLAN, plain), /next +fleet rollout start /);
  });

  it('has done nothing, whoever it leaves behind', () => {
    const [done] = rolloutView.columns.filter(({ title }) => title === 'done');
    const left = { ...PLAN, total: 3, counts: { ...counts, pending: 2, skipped: 1 } };
    assert.equal(done?.value(left, plain), '0/3');
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
