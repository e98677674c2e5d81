import { sleep } from '../../../platform/wait.ts';
import { wake } from '../../operations/driver.ts';
import { fencedStatement } from '../../operations/lease.ts';
import type { Transaction } from '../../registry/registry.ts';
import { exceeded, type Tally } from './budget.ts';
import { cancelInFlight } from './cancel.ts';
import type { Verdict } from './gating.ts';
import { createGateWatch } from './gate-watch.ts';
import { haltRollout, overBudget, pauseByEngine } from './halt.ts';
import { closeOutage, openOutage } from './outage.ts';
import type { Run } from './run.ts';
import { openSlots } from './slots.ts';
import { clockOf, type Stage } from './stage.ts';
import { steer } from './steer.ts';
import { lockRollout, sleepUntil } from '../store.ts';
import {
  writeBatch,
  type Batch,
  type BatchAnswer,
  type ClaimedTarget,
  type TargetResult,
} from '../target-store.ts';
import { hasWaiting, isDrained, pickTargets, type Pick, type OpenWave } from './wave.ts';

/** Watchers are told at most this often while targets end, in milliseconds; each wave's end is told at once. */
const ANNOUNCE_MS = 100;
/** While targets are in flight the rollout's row is looked at this often, in milliseconds: somebody may have aborted. */
const LOOK_MS = 1_000;
/** Waits shorter than this, in milliseconds, are sat out; longer ones are left to the queue and the sweeper. */
const STAY_MS = 1_000;
/** No wait is shorter, in milliseconds: an instant that has passed and moves nothing must not make a busy loop. */
const PAUSE_MS = 10;

/** Whether there is more to do at once, something to wait for, or nothing before somebody or some instant wakes it. */
type Next = 'again' | 'wait' | 'rest';

/**
 * Carries the rollout as far as it goes by itself: a loop of "write what has ended, claim what is free" in one fenced
 * statement each, and "steer": look at the waves, and move those that are ready for it.
 * @throws InterruptedError when what was in flight had to be cut
 */
export async function carryRollout(run: Run, parallel: number): Promise<void> {
  const verdicts = new Map<string, Verdict>();
  const stage: Stage = {
    run,
    verdicts,
    slots: openSlots((target, signal) => runTarget(stage, target, signal), parallel, run.lease),
    ...{ waves: new Map(), outages: new Map(), lost: new Set(), inFlight: new Map() },
    tally: { base: 0, failed: 0, ended: 0, inARow: 0 },
    ...{ version: -1, running: false, aborted: 'no', clockSkewMs: 0, nextAt: null },
    ...{ steeredAt: -Infinity, contractAt: -Infinity, announcedAt: 0, loadedVersion: -1 },
    gates: createGateWatch(),
  };
  run.isStopping = () => run.lease.stopping.aborted || (stage.version >= 0 && !stage.running);
  run.isAborted = () => stage.aborted !== 'no';
  run.isWanted = ({ wave }) => {
    const open = stage.waves.get(wave);
    return open !== undefined && hasWaiting(open);
  };
  try {
    for (let next: Next = 'again'; next !== 'rest' && !run.lease.signal.aborted;) {
      next = await round(stage);
      if (next === 'wait') await waitForMore(stage);
      else if (next === 'rest' && !(await goToSleep(stage))) next = 'again';
    }
    stage.slots.throwIfBroken();
  } finally {
    await stage.slots.close();
  }
}

async function runTarget(
  stage: Stage,
  target: ClaimedTarget,
  signal: AbortSignal,
): Promise<TargetResult | undefined> {
  const result = await stage.run.migrate(target, signal);
  const gates = stage.waves.get(target.wave)?.gates;
  if (result?.state === 'verified' && gates !== undefined && !signal.aborted) {
    const verdict = await gates.afterTarget(target);
    stage.verdicts.set(target.databaseId, verdict);
    if (verdict.nextAt !== undefined) stage.gates.measureBy(target.wave, verdict.nextAt);
  }
  return result;
}

async function round(stage: Stage): Promise<Next> {
  const { run, slots } = stage;
  const results = slots.takeResults();
  const stop = noteResults(stage, results);
  slots.throwIfBroken();
  const leaving = run.lease.stopping.aborted;
  const picks = stop !== undefined || leaving || !stage.running ? [] : pick(stage);
  if (results.length > 0 || picks.length > 0) await exchange(stage, { results, picks, stop });
  if (leaving) return slots.isBusy() ? 'wait' : 'rest';
  const due = stage.nextAt !== null && stage.nextAt <= clockOf(stage);
  const drained = [...stage.waves.values()].some(isDrained);
  const looked = performance.now() - stage.steeredAt < LOOK_MS;
  if (stop === undefined && looked && !due && !drained && slots.isBusy() && stage.version >= 0) return 'wait';
  const moved = await steer(stage);
  stage.steeredAt = performance.now();
  if (stage.aborted !== 'no' && slots.isBusy()) {
    await cancelInFlight(run, [...stage.inFlight.values()], stage.aborted === 'by force');
  }
  if (moved || (stage.running && pick(stage).length > 0)) return 'again';
  return slots.isBusy() || stage.gates.isBusy() || isNear(stage) ? 'wait' : 'rest';
}

/**
 * Leaves the rollout to the instant at which something is due; answers false when somebody has spoken meanwhile.
 * One that is paused sleeps until then as well: its gates go on measuring.
 */
async function goToSleep(stage: Stage): Promise<boolean> {
  const { run, nextAt } = stage;
  if (run.lease.stopping.aborted) return true;
  return run.lease.transaction(async (tx) => {
    if (!(await sleepUntil(tx, { id: run.rolloutId, version: stage.version }, nextAt))) return false;
    if (nextAt !== null) await wake(tx, 'rollout', run.rolloutId, nextAt);
    return true;
  });
}

function isNear(stage: Stage): boolean {
  return stage.nextAt !== null && stage.nextAt.getTime() - clockOf(stage).getTime() <= STAY_MS;
}

async function waitForMore(stage: Stage): Promise<void> {
  const left = stage.nextAt === null ? LOOK_MS : stage.nextAt.getTime() - clockOf(stage).getTime();
  const ms = Math.min(LOOK_MS, Math.max(PAUSE_MS, left));
  const more = stage.slots.isBusy() ? stage.slots.changed(ms) : sleep(ms, stage.run.lease.stopping);
  await Promise.race([more, ...stage.gates.pending()]);
}

function pick(stage: Stage): Pick[] {
  return pickTargets([...stage.waves.values()], {
    now: clockOf(stage),
    budget: stage.run.spec.budget,
    tally: stage.tally,
    inFlight: stage.inFlight.size,
    onServer: (serverId) => (stage.lost.has(serverId) ? Infinity : stage.slots.onServer(serverId)),
    outages: stage.outages,
  });
}

/** Why the rollout has to stop, decided by the results at hand. */
interface Stop {
  open: OpenWave;
  verdict: Verdict['state'] & ('pause' | 'halt');
  cause: NonNullable<Verdict['cause']>;
}

function noteResults(stage: Stage, results: readonly TargetResult[]): Stop | undefined {
  let stop: Stop | undefined;
  for (const result of results) {
    const target = stage.inFlight.get(result.databaseId);
    stage.inFlight.delete(result.databaseId);
    if (result.state === 'unreachable') stage.lost.add(result.serverId);
    const open = target === undefined ? undefined : stage.waves.get(target.wave);
    for (const tally of [stage.tally, ...(open === undefined ? [] : [open.tally])]) note(tally, result);
    if (open === undefined) continue;
    open.inFlight -= 1;
    stop ??= judgeResult(stage, open, result);
  }
  return stop;
}

function note(tally: Tally, { state }: TargetResult): void {
  if (state === 'verified' || state === 'failed') tally.ended += 1;
  if (state === 'failed') tally.failed += 1;
  if (state === 'failed') tally.inARow += 1;
  if (state === 'verified') tally.inARow = 0;
}

function judgeResult(stage: Stage, open: OpenWave, result: TargetResult): Stop | undefined {
  const { rolloutId, spec } = stage.run;
  const verdict = stage.verdicts.get(result.databaseId);
  stage.verdicts.delete(result.databaseId);
  if (verdict?.cause !== undefined && (verdict.state === 'halt' || verdict.state === 'pause')) {
    return { open, verdict: verdict.state, cause: verdict.cause };
  }
  if (result.state !== 'failed') return undefined;
  const ofWave = exceeded(open.wave.budget, open.tally);
  if (ofWave !== undefined) {
    return {
      open,
      verdict: 'halt',
      cause: overBudget(rolloutId, `wave ${open.wave.name}`, ofWave, open.inFlight),
    };
  }
  const ofAll = spec.budget === undefined ? undefined : exceeded(spec.budget, stage.tally);
  if (ofAll === undefined) return undefined;
  return {
    open,
    verdict: 'halt',
    cause: overBudget(rolloutId, 'over all waves', ofAll, stage.inFlight.size),
  };
}

/** Writes what has ended and claims what was picked; a stop is in the transaction that records its reason. */
async function exchange(
  stage: Stage,
  { results, picks, stop }: { results: TargetResult[]; picks: Pick[]; stop: Stop | undefined },
): Promise<void> {
  const { run } = stage;
  const batch: Batch = {
    rolloutId: run.rolloutId,
    lease: run.lease,
    results,
    claim: picks.map(({ target }) => target.databaseId),
    announce: isTimeToAnnounce(stage),
  };
  const servers = outageNews(stage, results);
  const plain = stop === undefined && servers.lost.length + servers.back.length === 0;
  const answer = plain
    ? await fencedStatement(run.lease, () => writeBatch(run.registry, batch))
    : await run.lease.transaction(async (tx) => {
        // First, as everybody's word does: outages and targets come after it.
        await lockRollout(tx, run.rolloutId);
        if (stop !== undefined) await stopRollout(tx, stage, stop);
        for (const serverId of servers.lost) await openOutage(tx, run, serverId);
        for (const serverId of servers.back) await closeOutage(tx, run, serverId);
        return writeBatch(tx, batch);
      });
  take(stage, picks, answer);
  if (!plain) stage.version = -1;
}

function take(stage: Stage, picks: readonly Pick[], answer: BatchAnswer): void {
  for (const target of answer.claimed) {
    const open = stage.waves.get(target.wave);
    if (open !== undefined) open.inFlight += 1;
    stage.inFlight.set(target.databaseId, target);
    stage.slots.start(target);
  }
  // Somebody has spoken: what was read is old.
  if (answer.version !== stage.version) stage.version = -1;
  if (answer.state !== 'running') {
    stage.running = false;
    return;
  }
  for (const { open, index } of picks) open.queue[index] = null;
}

async function stopRollout(tx: Transaction, stage: Stage, { open, verdict, cause }: Stop): Promise<void> {
  const rollout = await lockRollout(tx, stage.run.rolloutId);
  if (rollout === undefined) return;
  if (verdict === 'halt') await haltRollout(tx, rollout, open.wave, cause);
  else await pauseByEngine(tx, rollout, open.wave, cause);
}

/** Servers that were lost, or that have answered again. */
function outageNews(stage: Stage, results: readonly TargetResult[]): { lost: string[]; back: string[] } {
  const of = (state: (result: TargetResult) => boolean) => [
    ...new Set(results.filter(state).map((result) => result.serverId)),
  ];
  const lost = of((result) => result.state === 'unreachable');
  const back = of((result) => result.state === 'verified' || result.state === 'failed');
  return { lost, back: back.filter((id) => stage.outages.has(id) && !lost.includes(id)) };
}

function isTimeToAnnounce(stage: Stage): boolean {
  const now = performance.now();
  if (stage.slots.size() > 0 && now - stage.announcedAt < ANNOUNCE_MS) return false;
  stage.announcedAt = now;
  return true;
}
