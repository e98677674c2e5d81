import { gatesOf, WITHOUT_DATA } from '../gates/gate.ts';
import { readWaveClock } from '../gates/store.ts';
import { pauseByEngine, recordEngineAction } from './halt.ts';
import { whileRunning, type Run } from './run.ts';
import type { RolloutRecord } from '../store.ts';
import { countTargets } from '../target-store.ts';
import { listWaves, type WaveRecord } from '../wave-store.ts';

/**
 * No data never passes: a wave whose targets were all skipped or deferred, or failed within its budget, has nothing
 * that its gates could look at, and those behind it would get a release that nobody has proved. The rollout pauses.
 * A wave without any target passes, since all that fit it are at the release already or are proved in another wave,
 * and the events say so. The last wave guards nobody: what failed there halts the rollout at its end. Answers whether
 * it has paused; an undo is never held up.
 */
export async function pauseUnproved(run: Run, seen: RolloutRecord, wave: WaveRecord): Promise<boolean> {
  const decides = gatesOf(run.spec, wave).some(({ dryRun }) => !dryRun);
  if (!decides || wave.waivedBy !== null || seen.undoOf !== null) return false;
  const waves = await listWaves(run.registry, run.rolloutId);
  if (!waves.some(({ dependsOn }) => dependsOn.includes(wave.ordinal))) return false;
  const { hasVerified } = await readWaveClock(run.registry, run.rolloutId, wave.ordinal);
  if (hasVerified) return false;
  const counts = await countTargets(run.registry, run.rolloutId, wave.ordinal);
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  if (total === 0) {
    await whileRunning(run, seen, async (tx, rollout) => {
      recordEngineAction(tx, rollout, 'rollout.pass_empty', { waves: [wave.name] });
    });
    return false;
  }
  await whileRunning(run, seen, (tx, rollout) =>
    pauseByEngine(tx, rollout, wave, {
      code: WITHOUT_DATA,
      message: `wave ${wave.name}: none of its ${total} targets was migrated, so that its gates have nothing to look at`,
      fix:
        `fleet rollout promote ${run.rolloutId} goes on without that proof; ` +
        `or fleet rollout abort ${run.rolloutId}, and plan it anew with other targets in the wave`,
    }),
  );
  return true;
}
