import type { BackfillProgress } from '../../../contract/backfill.ts';
import type { GateStatus } from '../../../contract/gate.ts';
import type { InFlightTarget, RolloutProgress } from '../../../contract/progress.ts';
import type { RolloutWave, TargetCounts } from '../../../contract/rollout.ts';

/** Made-up rollouts for pictures of them. */

export const ID = '0190d5a0-0000-7000-8000-000000000000';
export const NOW = '2026-11-21T17:04:12.000Z';

/** The instant so many seconds before NOW, or after it. */
export function ago(seconds: number): string {
  return new Date(Date.parse(NOW) - seconds * 1_000).toISOString();
}

export function counts(given: Partial<TargetCounts>): TargetCounts {
  const none = { pending: 0, running: 0, verified: 0, failed: 0, unreachable: 0 };
  return { ...none, deferred: 0, skipped: 0, unknown: 0, undone: 0, ...given };
}

export function wave(
  name: string,
  state: RolloutWave['state'],
  given: Partial<RolloutWave> = {},
): RolloutWave {
  const all = given.counts ?? counts({ pending: 100 });
  return {
    name,
    state,
    implicit: false,
    parallel: 16,
    perServer: 16,
    budget: { failures: 0 },
    total: Object.values(all).reduce((sum, count) => sum + count, 0),
    bakeSeconds: 0,
    bakeUntil: null,
    dependsOn: [],
    regions: 'sequence',
    gates: [],
    approve: false,
    approvedBy: null,
    approvedAt: null,
    waivedBy: null,
    startedAt: null,
    finishedAt: null,
    ...given,
    counts: all,
  };
}

export function gate(name: string, given: Partial<GateStatus>): GateStatus {
  return {
    gate: name,
    scope: 'wave',
    state: 'waiting',
    dryRun: false,
    count: 3,
    counts: { success: 0, failure: 0, inconclusive: 0, error: 0, missed: 0 },
    nextAt: null,
    last: null,
    ...given,
  };
}

export function inFlight(tenant: string, given: Partial<InFlightTarget> = {}): InFlightTarget {
  return {
    tenant,
    region: 'eu',
    server: 'eu-1',
    wave: 'eu',
    state: 'running',
    migration: '0042_index',
    startedAt: ago(75),
    migrationSince: ago(42),
    tries: 1,
    backfill: null,
    ...given,
  };
}

export function backfill(given: Partial<BackfillProgress>): BackfillProgress {
  return {
    migration: '0043_fill',
    rowsDone: 250_000,
    rowsEstimated: 1_000_000,
    heldMs: 0,
    rate: 4_000,
    etaSeconds: 188,
    reason: null,
    quarantined: 0,
    at: NOW,
    ...given,
  };
}

/** A rollout in its second wave of three, with one failure, unless it is said otherwise. */
export function progress(given: Partial<RolloutProgress> = {}): RolloutProgress {
  const waves = [
    wave('canary', 'passed', { counts: counts({ verified: 10 }) }),
    wave('eu', 'running', { counts: counts({ verified: 240, running: 2, failed: 1, pending: 157 }) }),
    wave('rest', 'pending', { counts: counts({ pending: 90 }) }),
  ];
  return {
    id: ID,
    release: '2026.11.2',
    state: 'running',
    cause: null,
    author: 'anna',
    approve: true,
    approvedBy: 'ben',
    approvedAt: ago(300),
    queuedAt: null,
    supersededBy: null,
    total: 500,
    counts: counts({ verified: 250, running: 2, failed: 1, pending: 247 }),
    version: 3,
    createdAt: ago(400),
    startedAt: ago(252),
    finishedAt: null,
    waves,
    now: NOW,
    eta: { at: ago(-192), seconds: 192, until: 'end' },
    gateLimits: {},
    inFlight: [
      inFlight('acme'),
      inFlight('bolt', { migration: '0041_columns', migrationSince: ago(2), tries: 2 }),
    ],
    failures: [
      {
        code: 'migration_failed',
        count: 1,
        error: {
          code: 'migration_failed',
          message: 'column "due" of relation "tasks"\ncontains null values (23502)',
        },
        example: { tenant: 'cogs', region: 'eu', server: 'eu-2' },
      },
    ],
    outages: [],
    deferred: [],
    skipped: [],
    backfills: [],
    events: [
      { at: ago(180), actor: 'engine', what: 'wave eu began', reason: null },
      { at: ago(181), actor: 'engine', what: 'wave canary passed', reason: null },
      { at: ago(252), actor: 'anna', what: 'started', reason: 'release of the week' },
    ],
    ...given,
  };
}
