import type { Logger } from '../../platform/logging.ts';
import { fencedStatement, type Lease } from '../operations/lease.ts';
import type { Transaction } from '../registry/registry.ts';
import { haltOverBudget } from './halt.ts';
import { allowedFailures } from './plan.ts';
import { openSlots, type Slots } from './slots.ts';
import { lockRollout, type WaveRecord } from './store.ts';
import { migrateTarget, type TargetRun } from './target.ts';
import {
  countTargets,
  waitingTargets,
  writeBatch,
  type Batch,
  type Counts,
  type TargetResult,
  type WaitingTarget,
} from './target-store.ts';

/** One drive of one rollout. */
export interface Run extends TargetRun {
  rolloutId: string;
  lease: Lease;
  logger: Logger;
}

/** Watchers are told at most this often while targets end, in milliseconds; each wave's end is told at once. */
const ANNOUNCE_MS = 100;

interface WaveRun {
  run: Run;
  wave: WaveRecord;
  slots: Slots;
  /** In the order of the plan; null once taken. Only this owner claims, so that memory may lead. */
  queue: (WaitingTarget | null)[];
  /** Everything before it is taken. */
  head: number;
  failed: number;
  allowed: number;
  /** Servers that could not be reached in this drive: their targets wait for the retry of all. */
  lost: Set<string>;
  announcedAt: number;
}

/**
 * Runs the wave's waiting targets: a loop of "write what has ended, claim what is free", in one fenced
 * statement each, never more in flight than `parallel` and, on each server, `perServer`.
 *
 * It returns when nothing is in flight and nothing may be claimed: the wave is through, the rollout was stopped,
 * its budget is broken, or the process has to stop. Afterwards the registry says where everything stands.
 * @throws InterruptedError when what was in flight had to be cut
 */
export async function runWave(run: Run, wave: WaveRecord): Promise<void> {
  const counts = await countTargets(run.registry, run.rolloutId, wave.ordinal);
  const queue = await waitingTargets(run.registry, run.rolloutId, wave.ordinal);
  const slots = openSlots((target, signal) => migrateTarget(run, target, signal), wave.parallel, run.lease);
  const allowed = allowedFailures(wave.budget, budgetBase(counts));
  const state: WaveRun = {
    ...{ run, wave, slots, queue, allowed },
    ...{ head: 0, failed: counts.failed, lost: new Set(), announcedAt: 0 },
  };
  try {
    while (await nextBatch(state)) await slots.changed();
    slots.throwIfBroken();
  } finally {
    await slots.close();
  }
}

/** The targets that a budget in percent is a share of: those that are this wave's business. */
export function budgetBase(counts: Counts): number {
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  return all - counts.deferred - counts.skipped;
}

/** One round. Answers false when there is nothing more to do or to wait for. */
async function nextBatch(state: WaveRun): Promise<boolean> {
  const { run, slots } = state;
  if (run.lease.signal.aborted) return false;
  const results = slots.takeResults();
  const newFailures = noteResults(state, results);
  const overBudget = newFailures > 0 && state.failed > state.allowed;
  slots.throwIfBroken();
  const claim = overBudget || run.lease.stopping.aborted ? [] : pick(state);
  if (results.length === 0 && claim.length === 0) return slots.isBusy();

  const batch: Batch = {
    rolloutId: run.rolloutId,
    lease: run.lease,
    results,
    claim: claim.map((index) => state.queue[index]?.databaseId ?? ''),
    announce: isTimeToAnnounce(state),
  };
  const answer = overBudget
    ? await run.lease.transaction((tx) => halt(tx, state).then(() => writeBatch(tx, batch)))
    : await fencedStatement(run.lease, () => writeBatch(run.registry, batch));
  for (const target of answer.claimed) slots.start(target);
  // Where the rollout stands still, what was picked stays in the queue: it may be resumed while others are in flight.
  if (answer.state !== 'running') return slots.isBusy();
  for (const index of claim) state.queue[index] = null;
  return true;
}

function noteResults(state: WaveRun, results: readonly TargetResult[]): number {
  const failures = results.filter((result) => result.state === 'failed').length;
  state.failed += failures;
  for (const result of results) if (result.state === 'unreachable') state.lost.add(result.serverId);
  return failures;
}

/**
 * Positions in the queue to claim now. Over budget only what has run before: that is what `retry` of a single
 * tenant asked for, while the wave's other targets stay untouched.
 */
function pick(state: WaveRun): number[] {
  const { queue, wave, slots } = state;
  while (state.head < queue.length && queue[state.head] === null) state.head += 1;
  const onServer = new Map<string, number>();
  const picked: number[] = [];
  for (
    let index = state.head;
    index < queue.length && picked.length < wave.parallel - slots.size();
    index += 1
  ) {
    const target = queue[index];
    if (target === null || target === undefined || state.lost.has(target.serverId)) continue;
    if (state.failed > state.allowed && target.tries === 0) continue;
    const busy = onServer.get(target.serverId) ?? slots.onServer(target.serverId);
    if (busy >= wave.perServer) continue;
    onServer.set(target.serverId, busy + 1);
    picked.push(index);
  }
  return picked;
}

function isTimeToAnnounce(state: WaveRun): boolean {
  const now = performance.now();
  if (state.slots.size() > 0 && now - state.announcedAt < ANNOUNCE_MS) return false;
  state.announcedAt = now;
  return true;
}

/** Stops the rollout in the transaction that records the failure: nothing is claimed after it. */
async function halt(tx: Transaction, state: WaveRun): Promise<void> {
  const rollout = await lockRollout(tx, state.run.rolloutId);
  if (rollout === undefined) return;
  await haltOverBudget(tx, rollout, state.wave, { failed: state.failed, allowed: state.allowed });
}
