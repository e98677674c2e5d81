import { haltBlocked, haltBlockedWaves } from '../plan/contract.ts';
import { finishRollout } from './finish.ts';
import { recordEngineAction } from './halt.ts';
import { listOutages, loseTargets, recallTargets } from './outage-store.ts';
import { whileRunning, type Run } from './run.ts';
import { settleUndo } from './settle.ts';
import type { Stage } from './stage.ts';
import { findRollout, moveRollout, type RolloutRecord } from '../store.ts';
import { skipPending, waitingTargets } from '../target-store.ts';
import { deferClosed, releaseDue, tallyRollout, tallyWaves, type WaveTally } from './wait-store.ts';
import type { OpenWave } from './wave.ts';
import { listWaves, moveWave, type WaveRecord } from '../wave-store.ts';
import { askGates, stepWave } from './wave-steps.ts';

/**
 * Looks at the rollout as the registry has it, and moves what is ready for it:
 *
 *   wave   pending ─ all that it depends on have passed and are approved ─▶ running ─ its targets ─▶ baking until a
 *          stored instant ─▶ gating until its gates say go ─▶ passed
 *   all passed:  tenants behind that are not in the list join the last wave; none is behind ─▶ succeeded
 *   none open, but one that has passed lacks its approval ─▶ awaiting_approval
 *
 * Waves run side by side where nothing makes them wait for each other. Answers whether it has moved anything.
 */
export async function steer(stage: Stage): Promise<boolean> {
  const { run } = stage;
  stage.gates.throwIfBroken();
  const rollout = await findRollout(run.registry, run.rolloutId);
  if (rollout === undefined) {
    stage.running = false;
    return false;
  }
  stage.version = rollout.version;
  stage.running = rollout.state === 'running';
  stage.aborted = rollout.state !== 'aborted' ? 'no' : rollout.forcedAt === null ? 'yes' : 'by force';
  stage.clockSkewMs = rollout.now.getTime() - Date.now();
  stage.nextAt = null;
  if (stage.running) return moveWaves(stage, rollout);
  if (!stage.slots.isBusy()) await settleUndo(run, rollout);
  // What stopped half way at the abort waits in nobody's hands.
  if (rollout.state === 'aborted')
    await run.lease.transaction((tx) => skipPending(tx, rollout.id, 'aborted'));
  return rollout.state === 'paused' && (await watchPaused(stage, rollout));
}

/** A gate that fails while a person has paused the rollout still stops it. */
async function watchPaused(stage: Stage, rollout: RolloutRecord): Promise<boolean> {
  const open = (await listWaves(stage.run.registry, rollout.id)).filter(
    (wave) => (wave.state === 'baking' || wave.state === 'gating') && wave.waivedBy === null,
  );
  let moved = false;
  for (const wave of open) moved = (await askGates(stage, rollout, wave)) || moved;
  return moved;
}

async function moveWaves(stage: Stage, rollout: RolloutRecord): Promise<boolean> {
  const { run } = stage;
  const waves = await listWaves(run.registry, run.rolloutId);
  if (await isContractBlocked(stage, rollout, waves)) return true;
  const recalled = await tendOutages(stage, rollout, waves);
  const released = await run.lease.transaction((tx) => releaseDue(tx, run.rolloutId));
  const tallies = await tallyWaves(run.registry, run.rolloutId);
  stage.tally = await tallyRollout(run.registry, run.rolloutId);
  const reload = stage.loadedVersion !== rollout.version || recalled || released > 0;
  await openWaves(stage, { waves, tallies, reload, rollout });
  stage.loadedVersion = rollout.version;
  let moved = false;
  for (const wave of waves) {
    moved = (await moveOne(stage, { rollout, wave, waves, tally: tallies[wave.ordinal] })) || moved;
  }
  return moved || (await moveOn(run, rollout, waves));
}

/** Apps report every ten seconds: an old one that was started meanwhile is known after as long, in milliseconds. */
const CONTRACT_MS = 10_000;

/** Asked again after each word of a person, and while a wave runs: somebody may have come or stayed behind. */
async function isContractBlocked(
  stage: Stage,
  rollout: RolloutRecord,
  waves: readonly WaveRecord[],
): Promise<boolean> {
  const spoken = stage.loadedVersion !== rollout.version;
  if (!spoken && performance.now() - stage.contractAt < CONTRACT_MS) return false;
  stage.contractAt = performance.now();
  return haltBlockedWaves(stage.run, rollout, waves);
}

function moveOne(
  stage: Stage,
  at: { rollout: RolloutRecord; wave: WaveRecord; waves: WaveRecord[]; tally: WaveTally | undefined },
): Promise<boolean> {
  const { wave, waves, rollout, tally } = at;
  if (wave.state === 'passed' || tally === undefined) return Promise.resolve(false);
  if (wave.state !== 'pending') return stepWave(stage, rollout, wave, tally);
  return mayStart(wave, waves) ? startWave(stage.run, rollout, wave) : Promise.resolve(false);
}

/** Who may have come or stayed behind since the rollout was started is seen here, before a wave's first target. */
async function startWave(run: Run, seen: RolloutRecord, wave: WaveRecord): Promise<boolean> {
  await whileRunning(run, seen, async (tx, rollout) => {
    if (!(await haltBlocked(tx, rollout, wave))) await moveWave(tx, run.rolloutId, wave, 'start');
  });
  return true;
}

/** Whether all that the wave depends on has passed, and was approved where it has to be. */
export function mayStart(wave: Pick<WaveRecord, 'dependsOn'>, waves: readonly WaveRecord[]): boolean {
  return wave.dependsOn.every((ordinal) => {
    const before = waves.find((other) => other.ordinal === ordinal);
    return before?.state === 'passed' && isApproved(before);
  });
}

export function isApproved(wave: Pick<WaveRecord, 'approve' | 'approvedAt'>): boolean {
  return !wave.approve || wave.approvedAt !== null;
}

/** What follows when no wave moves: the end, or a wait for an approval. */
async function moveOn(run: Run, seen: RolloutRecord, waves: WaveRecord[]): Promise<boolean> {
  const lacking = waves.filter((wave) => wave.state === 'passed' && !isApproved(wave));
  if (waves.some((wave) => ['running', 'baking', 'gating', 'failed'].includes(wave.state))) return false;
  if (lacking.length > 0) {
    const names = lacking.map((wave) => wave.name);
    await whileRunning(run, seen, async (tx, rollout) => {
      await moveRollout(tx, rollout, 'submit', null);
      recordEngineAction(tx, rollout, 'rollout.submit', { waves: names });
    });
    return true;
  }
  if (waves.some((wave) => wave.state === 'pending')) return false;
  await whileRunning(run, seen, (tx, rollout) => finishRollout(tx, run, rollout, waves));
  return true;
}

/** Servers that were away: who is tried again now, and who is given up. Answers whether targets wait anew. */
async function tendOutages(stage: Stage, rollout: RolloutRecord, waves: WaveRecord[]): Promise<boolean> {
  const { run } = stage;
  const outages = await listOutages(run.registry, run.rolloutId);
  stage.outages = new Map(outages.map((outage) => [outage.serverId, outage]));
  stage.lost.clear();
  let changed = false;
  for (const { serverId, givenUpAt, nextTryAt } of outages) {
    if (givenUpAt !== null) {
      changed = (await giveUp(run, serverId, waves)) || changed;
    } else if (nextTryAt <= rollout.now && stage.slots.onServer(serverId) === 0) {
      changed = true;
      await run.lease.transaction((tx) => recallTargets(tx, run.rolloutId, serverId));
    }
  }
  return changed;
}

/** Answers whether there was anything left to give up. */
async function giveUp(run: Run, serverId: string, waves: readonly WaveRecord[]): Promise<boolean> {
  const open = waves.filter(({ state }) => state === 'running');
  return run.lease.transaction(async (tx) => {
    let lost = 0;
    for (const { ordinal } of open) lost += await loseTargets(tx, run.rolloutId, ordinal, serverId);
    return lost > 0;
  });
}

async function openWaves(
  stage: Stage,
  at: { waves: WaveRecord[]; tallies: WaveTally[]; reload: boolean; rollout: RolloutRecord },
): Promise<void> {
  const open = at.waves.filter((wave) => wave.state === 'running');
  for (const ordinal of stage.waves.keys()) {
    if (!open.some((wave) => wave.ordinal === ordinal)) stage.waves.delete(ordinal);
  }
  for (const wave of open) {
    const known = stage.waves.get(wave.ordinal);
    const tally = at.tallies[wave.ordinal];
    if (tally === undefined) continue;
    if (known !== undefined && !at.reload) Object.assign(known, { wave, tally });
    else stage.waves.set(wave.ordinal, await loadWave(stage, wave, tally));
    await deferOutside(stage, at.rollout.now, wave.ordinal);
  }
}

async function loadWave(stage: Stage, wave: WaveRecord, tally: WaveTally): Promise<OpenWave> {
  const { run } = stage;
  const queue = await waitingTargets(run.registry, run.rolloutId, wave.ordinal);
  const inFlight = [...stage.inFlight.values()].filter((target) => target.wave === wave.ordinal).length;
  const gates = wave.waivedBy === null ? run.openGates(wave) : undefined;
  return { wave, tally, queue, head: 0, inFlight, gates };
}

/** Has targets of the wave wait whose windows are closed; the driver wakes when the first opens. */
async function deferOutside(stage: Stage, now: Date, ordinal: number): Promise<void> {
  const { run } = stage;
  const wave = stage.waves.get(ordinal);
  if (run.calendar.isEmpty || wave === undefined) return;
  const closed = wave.queue.flatMap((target, index) => {
    if (target === null) return [];
    const opening = run.calendar.at(target, now);
    return opening.open ? [] : [{ ...opening, index, databaseId: target.databaseId }];
  });
  if (closed.length === 0) return;
  await run.lease.transaction((tx) =>
    deferClosed(
      tx,
      run.rolloutId,
      closed.map(({ databaseId, reason, at }) => ({ databaseId, reason, notBefore: at })),
    ),
  );
  for (const { index } of closed) wave.queue[index] = null;
  wave.tally.waiting -= closed.length;
  wave.tally.closed += closed.length;
  const first = new Date(Math.min(...closed.map(({ at }) => at.getTime())));
  if (wave.tally.nextAt === null || first < wave.tally.nextAt) wave.tally.nextAt = first;
}
