import type { RolloutSpec } from '../../../contract/rollout.ts';
import type { Logger } from '../../../platform/logging.ts';
import type { Lease } from '../../operations/lease.ts';
import type { Transaction } from '../../registry/registry.ts';
import type { Calendar } from '../plan/calendar.ts';
import type { OpenGates } from './gating.ts';
import type { AskTarget } from './settle.ts';
import { lockRollout, type RolloutRecord } from '../store.ts';
import type { RunTarget } from './slots.ts';
import type { ClaimedTarget } from '../target-store.ts';
import type { TargetRun } from './target.ts';

/** How long servers are waited for that do not answer; milliseconds. */
export interface OutagePolicy {
  firstMs: number;
  maxMs: number;
  /** After this long a wave's targets there are unreachable: its budget decides. */
  giveUpMs: number;
}

/**
 * A restart or fail-over takes seconds to minutes: trying first after 5 s, then less and less often up to each
 * minute, costs nothing. After a quarter of an hour somebody has to look.
 */
export const DEFAULT_OUTAGE: OutagePolicy = { firstMs: 5_000, maxMs: 60_000, giveUpMs: 900_000 };

/** One drive of one rollout. */
export interface Run extends TargetRun {
  rolloutId: string;
  spec: RolloutSpec;
  lease: Lease;
  logger: Logger;
  calendar: Calendar;
  outage: OutagePolicy;
  openGates: OpenGates;
  migrate: RunTarget;
  /** Whether somebody waits for the place of this target in flight. */
  isWanted: (target: ClaimedTarget) => boolean;
  ask: AskTarget;
}

/**
 * A fenced transaction on the locked rollout; does nothing when a person has spoken since it was `seen`: they may have
 * stopped it, or given a wave more to do.
 */
export async function whileRunning(
  run: Pick<Run, 'rolloutId'> & { lease: Pick<Lease, 'transaction'> },
  seen: Pick<RolloutRecord, 'version'>,
  work: (tx: Transaction, rollout: RolloutRecord) => Promise<unknown>,
): Promise<void> {
  await run.lease.transaction(async (tx) => {
    const rollout = await lockRollout(tx, run.rolloutId);
    if (rollout?.state === 'running' && rollout.version === seen.version) await work(tx, rollout);
  });
}
