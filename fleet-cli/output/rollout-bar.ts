import type { RolloutProgress } from '../../contract/progress.ts';
import type { RolloutWave, TargetCounts } from '../../contract/rollout.ts';
import type { Paint, Tone } from './style.ts';

/** Each shade is a share of the wave: done, failed, in flight, left as they are, and what is to come. */
export function waveBar(
  { counts, total }: Pick<RolloutWave, 'counts' | 'total'>,
  width: number,
  paint: Paint,
): string {
  if (total === 0) return paint('dim', '·'.repeat(width));
  const parts: [Tone, string, number][] = [
    ['good', '█', doneOf(counts)],
    ['bad', '▒', brokenOf(counts)],
    ['busy', '▓', counts.running],
    ['dim', '─', counts.skipped],
  ];
  let used = 0;
  let sum = 0;
  const drawn = parts.map(([tone, shade, count]) => {
    sum += count;
    // A failure or a running target is never rounded away.
    const end = Math.min(width, Math.max(Math.floor((sum / total) * width), used + (count > 0 ? 1 : 0)));
    const text = shade.repeat(end - used);
    used = end;
    return paint(tone, text);
  });
  return drawn.join('') + paint('dim', '░'.repeat(width - used));
}

/** Targets that have what the rollout brings: those that it leaves as they are do not count. */
export function doneOf(counts: TargetCounts): number {
  return counts.verified;
}

export function brokenOf(counts: TargetCounts): number {
  return counts.failed + counts.unreachable + counts.unknown;
}

/** Targets that an abort came before. */
export function notReached({ skipped }: Pick<RolloutProgress, 'skipped'>): number {
  return skipped.reduce((sum, group) => sum + (group.notReached ? group.count : 0), 0);
}

/**
 * What of the counts a person has to know beside what is done: `3 failed`, coloured. Of the skipped ones as many were
 * not reached as is said.
 */
export function countWords(counts: TargetCounts, paint: Paint, missed = 0): string[] {
  const { running, failed, unreachable, unknown, deferred, skipped, undone } = counts;
  const said: [Tone, number, string][] = [
    ['busy', running, 'running'],
    ['bad', failed, 'failed'],
    ['bad', unreachable, 'unreachable'],
    ['bad', unknown, 'unknown'],
    ['warn', deferred, 'deferred'],
    ['warn', missed, 'not reached'],
    ['dim', skipped - missed, 'skipped'],
    ['dim', undone, 'undone'],
  ];
  return said.filter(([, count]) => count > 0).map(([tone, count, word]) => paint(tone, `${count} ${word}`));
}
