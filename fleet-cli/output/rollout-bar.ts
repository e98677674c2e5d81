import type { RolloutWave, TargetCounts } from '../../contract/rollout.ts';
import type { Paint, Tone } from './style.ts';

/** Each shade is a share of the wave: done, in flight, failed, and what is left. */
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

/** Targets that nothing is left to do for. */
export function doneOf(counts: TargetCounts): number {
  return counts.verified + counts.skipped;
}

export function brokenOf(counts: TargetCounts): number {
  return counts.failed + counts.unreachable + counts.unknown;
}

/** What of the counts a person has to know beside what is done: `3 failed`, coloured. */
export function countWords(counts: TargetCounts, paint: Paint): string[] {
  const { running, failed, unreachable, unknown, deferred, skipped, undone } = counts;
  const said: [Tone, number, string][] = [
    ['busy', running, 'running'],
    ['bad', failed, 'failed'],
    ['bad', unreachable, 'unreachable'],
    ['bad', unknown, 'unknown'],
    ['warn', deferred, 'deferred'],
    ['dim', skipped, 'skipped'],
    ['dim', undone, 'undone'],
  ];
  return said.filter(([, count]) => count > 0).map(([tone, count, word]) => paint(tone, `${count} ${word}`));
}
