import { exceeded } from './budget.ts';
import type { Verdict } from './gating.ts';
import { bearsUnreachable, haltRollout, haltUnreachable, overBudget, pauseByEngine } from './halt.ts';
import { whileRunning, type Run } from './run.ts';
import { InterruptedError } from './slots.ts';
import { clockOf, wakeAt, type Stage } from './stage.ts';
import { lockRollout, type RolloutRecord } from '../store.ts';
import { pickTargets, isDrained, type OpenWave } from './wave.ts';
import { pauseUnproved } from './unproved.ts';
import type { WaveTally } from './wait-store.ts';
import { moveWave, type WaveRecord } from '../wave-store.ts';

/** What becomes of a wave that has begun. Answers whether it was moved. */
export async function stepWave(
  stage: Stage,
  rollout: RolloutRecord,
  wave: WaveRecord,
  tally: WaveTally,
): Promise<boolean> {
  const { run } = stage;
  // A halt that a person has promoted or retried past leaves its wave failed until here.
  if (wave.state === 'failed') return move(run, rollout, wave, 'reopen');
  if (wave.waivedBy === null && (await askGates(stage, rollout, wave))) return true;
  if (wave.state === 'running') return endTargets(stage, rollout, wave, tally);
  if (wave.state !== 'baking') return wave.waivedBy !== null && move(run, rollout, wave, 'pass');
  if (wave.bakeUntil !== null && wave.bakeUntil > rollout.now) {
    wakeAt(stage, wave.bakeUntil);
    return false;
  }
  return move(run, rollout, wave, isGated(run, wave) ? 'gate' : 'pass');
}

function isGated(run: Run, wave: WaveRecord): boolean {
  return wave.waivedBy === null && run.openGates(wave) !== undefined;
}

/** Decides what becomes of a wave of which nothing is in flight and nothing may be claimed. */
async function endTargets(
  stage: Stage,
  seen: RolloutRecord,
  wave: WaveRecord,
  tally: WaveTally,
): Promise<boolean> {
  const { run } = stage;
  const open = stage.waves.get(wave.ordinal);
  if (open === undefined || open.inFlight > 0) return false;
  // This owner carries nothing of it any more, so that only a new epoch can find out what became of these.
  if (tally.running > 0)
    throw new InterruptedError(`${tally.running} targets of wave ${wave.name} run in nobody's hands`);
  if (canClaim(stage, open)) return false;
  const over = overWhat(stage, open);
  if (over !== undefined) {
    await whileRunning(run, seen, (tx, rollout) => haltRollout(tx, rollout, wave, over));
    return true;
  }
  if (!isDrained(open)) {
    // Only servers that are away are left.
    isWaitedFor(stage, seen.now, wave);
    return false;
  }
  if (tally.unreachable > 0 && isWaitedFor(stage, seen.now, wave)) return false;
  if (tally.closed > 0) {
    if (tally.nextAt !== null) wakeAt(stage, tally.nextAt);
    return false;
  }
  // Resumed or retried in the moment in between: the next round runs it.
  if (tally.waiting > 0) {
    stage.loadedVersion = -1;
    return true;
  }
  return closeWave(stage, seen, wave, tally);
}

async function closeWave(
  stage: Stage,
  seen: RolloutRecord,
  wave: WaveRecord,
  tally: WaveTally,
): Promise<boolean> {
  const { run } = stage;
  if (!bearsUnreachable(wave.budget, tally)) {
    await whileRunning(run, seen, (tx, rollout) => haltUnreachable(tx, rollout, wave, tally.unreachable));
    return true;
  }
  if (await pauseUnproved(run, seen, wave)) return true;
  const bakes = wave.bakeSeconds > 0 && wave.bakeUntil === null && tally.base > 0 && wave.waivedBy === null;
  return move(run, seen, wave, bakes ? 'bake' : isGated(run, wave) ? 'gate' : 'pass');
}

/**
 * Whether a server that the wave waits for is tried again before it is given up; then the driver wakes for it. One whose
 * instant has come is being tried for another wave, and the end of that wakes the driver.
 */
function isWaitedFor(stage: Stage, now: Date, { ordinal }: WaveRecord): boolean {
  const waited = [...stage.outages.values()].filter(
    ({ givenUpAt, waves }) => givenUpAt === null && waves.includes(ordinal),
  );
  for (const { nextTryAt } of waited) if (nextTryAt > now) wakeAt(stage, nextTryAt);
  return waited.length > 0;
}

function canClaim(stage: Stage, open: OpenWave): boolean {
  const bounds = {
    now: clockOf(stage),
    budget: stage.run.spec.budget,
    tally: stage.tally,
    inFlight: 0,
    onServer: () => 0,
    outages: stage.outages,
  };
  return pickTargets([open], bounds).length > 0;
}

function overWhat(stage: Stage, { wave, tally }: OpenWave) {
  const { spec, rolloutId } = stage.run;
  const ofWave = exceeded(wave.budget, tally);
  if (ofWave !== undefined) return overBudget(rolloutId, `wave ${wave.name}`, ofWave, 0);
  const ofAll = spec.budget === undefined ? undefined : exceeded(spec.budget, stage.tally);
  return ofAll === undefined
    ? undefined
    : overBudget(rolloutId, 'over all waves', ofAll, stage.inFlight.size);
}

/** Asks the wave's gates; answers whether they have moved it, or stopped the rollout. */
export async function askGates(stage: Stage, rollout: RolloutRecord, wave: WaveRecord): Promise<boolean> {
  const { run } = stage;
  const gates = run.openGates(wave);
  if (gates === undefined) return false;
  const { verdict, nextAt } = stage.gates.ask({ ...wave, version: rollout.version }, gates, rollout.now);
  if (nextAt !== undefined) wakeAt(stage, nextAt);
  if (verdict === undefined) return false;
  if (verdict.state === 'halt' || verdict.state === 'pause') return stopByGate(run, rollout, wave, verdict);
  if (verdict.state === 'go' && wave.state === 'gating' && rollout.state === 'running') {
    return move(run, rollout, wave, 'pass');
  }
  return false;
}

/** Also of a rollout that a person has paused: a failed gate still needs a repair. */
async function stopByGate(
  run: Run,
  { state }: RolloutRecord,
  wave: WaveRecord,
  { state: verdict, cause }: Verdict,
): Promise<boolean> {
  if (cause === undefined || (state === 'paused' && verdict === 'pause')) return false;
  await run.lease.transaction(async (tx) => {
    const rollout = await lockRollout(tx, run.rolloutId);
    if (rollout?.state !== state) return;
    if (verdict === 'halt') await haltRollout(tx, rollout, wave, cause);
    else await pauseByEngine(tx, rollout, wave, cause);
  });
  return true;
}

export async function move(
  run: Run,
  seen: RolloutRecord,
  wave: WaveRecord,
  event: Parameters<typeof moveWave>[3],
): Promise<boolean> {
  await whileRunning(run, seen, (tx) => moveWave(tx, run.rolloutId, wave, event));
  return true;
}
