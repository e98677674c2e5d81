import assert from 'node:assert/strict';
import type { BackfillProgress } from '../../../contract/backfill.ts';
import type { RolloutTarget } from '../../../contract/rollout.ts';
import { renderBackfills } from '../../../fleet-cli/output/backfill-view.ts';

const plain = (_tone: string, text: string): string => text;

function target(
  tenant: string,
  state: RolloutTarget['state'],
  changes: Partial<BackfillProgress>,
): RolloutTarget {
  const progress: BackfillProgress = {
    migration: '003_fill',
    rowsDone: 250_000,
    rowsEstimated: 1_000_000,
    heldMs: 0,
    rate: 4_000,
    etaSeconds: 188,
    reason: null,
    quarantined: 0,
    at: '2026-11-21T12:00:00.000Z',
    ...changes,
  };
  // Only what is looked at.
  return { tenant, state, progress } as RolloutTarget;
}

describe('the picture of backfills', () => {
  it('shows rows, pace, time left and time held apart, and why one is held', () => {
    const text = renderBackfills(
      [
        target('acme', 'running', {}),
        target('bolt', 'running', {
          heldMs: 3_720_000,
          reason: 'a replica is 5 s behind',
          etaSeconds: 7_300,
        }),
        target('cogs', 'pending', { quarantined: 2, etaSeconds: null }),
        target('dune', 'verified', {}),
      ],
      plain,
    );
    const lines = (text ?? '').split('\n').map((line) => line.replace(/ {2,}/g, ' | '));
    assert.deepEqual(lines.slice(1), [
      'cogs | 003_fill | 250,000 of ~1,000,000 (25 %) | 4,000 | - | 0s | pending, 2 ranges left out',
      'bolt | 003_fill | 250,000 of ~1,000,000 (25 %) | 4,000 | 2h 1m | 1h 2m | held: a replica is 5 s behind',
      'acme | 003_fill | 250,000 of ~1,000,000 (25 %) | 4,000 | 3m 8s | 0s | -',
    ]);
  });

  it('is not there where nothing is under way', () => {
    assert.equal(renderBackfills([target('dune', 'verified', {})], plain), undefined);
  });
});
