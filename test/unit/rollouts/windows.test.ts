import assert from 'node:assert/strict';
import { CalendarRule } from '../../../contract/rollout.ts';
import type { WaitingMember } from '../../../control-plane/rollouts/plan/plan-store.ts';
import { groupWaiting } from '../../../control-plane/rollouts/plan/windows.ts';

function member(slug: string, more: Partial<WaitingMember> = {}): WaitingMember {
  return {
    ...{ tenantId: slug, slug, region: 'eu', tier: 'standard', labels: {}, serverName: 'eu-1' },
    ...{ wave: 'all', state: 'deferred', reason: 'outside its window', notBefore: new Date(0) },
    ...more,
  };
}

const RULES = [
  { match: { region: 'eu' }, open: { cron: '0 22 * * *', for: '1h' }, timeZone: 'Europe/Berlin' },
  { match: { region: 'us' }, open: { cron: '0 22 * * *', for: '1h' }, timeZone: 'America/New_York' },
  { match: { tier: 'premium' }, open: { cron: '0 4 * * *', for: '1h' }, timeZone: 'Asia/Tokyo' },
  { freeze: { from: '2026-12-24T00:00:00Z', to: '2026-12-27T00:00:00Z' } },
].map((rule) => CalendarRule.parse(rule));

const at = (hour: number): Date => new Date(Date.UTC(2026, 10, 23, hour));

describe('targets that do not run at once', () => {
  it('are counted by wave, reason and time zone, with the first and the last instant', () => {
    const groups = groupWaiting(
      [
        member('a', { notBefore: at(21) }),
        member('b', { notBefore: at(3), region: 'us' }),
        member('c', { notBefore: at(19) }),
        member('d', { notBefore: at(20), wave: 'late' }),
      ],
      RULES,
    );
    assert.deepEqual(
      groups.map(({ wave, targets, first, last, timeZone }) => [wave, targets, first, last, timeZone]),
      [
        ['all', 2, at(19).toISOString(), at(21).toISOString(), 'Europe/Berlin'],
        ['all', 1, at(3).toISOString(), at(3).toISOString(), 'America/New_York'],
        ['late', 1, at(20).toISOString(), at(20).toISOString(), 'Europe/Berlin'],
      ],
    );
  });

  it('are in UTC where windows of several zones hold, or none', () => {
    const groups = groupWaiting(
      [member('a', { tier: 'premium' }), member('b', { region: 'ap', reason: 'frozen' })],
      RULES,
    );
    assert.deepEqual(
      groups.map(({ reason, timeZone }) => [reason, timeZone]),
      [
        ['outside its window', 'UTC'],
        ['frozen', 'UTC'],
      ],
    );
  });

  it('have no instant where they wait for their tenant, or for nobody', () => {
    const groups = groupWaiting(
      [
        member('a', { reason: 'suspended', notBefore: null }),
        member('b', { state: 'skipped', reason: 'broken', notBefore: null }),
      ],
      RULES,
    );
    assert.deepEqual(
      groups.map(({ state, reason, first, last }) => [state, reason, first, last]),
      [
        ['deferred', 'suspended', null, null],
        ['skipped', 'broken', null, null],
      ],
    );
  });
});
