import type { GateStatus } from '../../contract/gate.ts';
import type { RolloutProgress } from '../../contract/progress.ts';
import type { RolloutWave } from '../../contract/rollout.ts';
import { onOneLine, type Line, type Section, type Size } from './fit.ts';
import { brokenOf, countWords, doneOf, waveBar } from './rollout-bar.ts';
import { stateText, type Paint } from './style.ts';
import { between } from './time.ts';

/** Fits beside name, counts and state in 80 columns. */
const BAR_WIDTH = 24;
const LEAST_BAR = 6;
/** What stands beside the bar at least: counts and the longest state, with gaps. */
const BESIDE_BAR = 30;
/** Longer names are cut: the bar says more than their ends. */
const NAME_WIDTH = 20;
/** Those that are under way, with their gates, before anything else but the header. */
const LEAST_LINES = 6;
/** A wave that has something to say stays where there is not room for all; those that are through go first. */
const RANK = { active: 0, gate: 1, pending: 2, passed: 3 };

/** A bar for each wave, and below it the gates that it has still to pass. */
export function waveSection(
  progress: RolloutProgress,
  paint: Paint,
  { columns }: Size,
  now: number,
): Section {
  const { waves, gateLimits } = progress;
  const name = Math.min(NAME_WIDTH, Math.max(0, ...waves.map((wave) => wave.name.length)));
  const done = Math.max(0, ...waves.map((wave) => countText(wave).length));
  const room = columns === undefined ? BAR_WIDTH : columns - name - BESIDE_BAR;
  const bar = Math.max(LEAST_BAR, Math.min(BAR_WIDTH, room));
  const lines = waves.flatMap((wave): Line[] => {
    const begin = [
      wave.name.slice(0, name).padEnd(name),
      waveBar(wave, bar, paint),
      countText(wave).padStart(done),
    ];
    const text = [...begin, stateText(paint, waveWord(progress, wave)), notes(wave, paint, now)]
      .join('  ')
      .trimEnd();
    const gates = wave.gates
      .filter((gate) => isShown(wave, gate))
      .map((gate) => gateLine(gate, gateLimits, paint, now));
    return [{ text, rank: rankOf(wave) }, ...gates.map((line) => ({ text: line, rank: RANK.gate }))];
  });
  const active = lines.filter(({ rank }) => rank <= RANK.gate).length;
  return { lines, priority: 1, least: Math.max(1, Math.min(LEAST_LINES, active)) };
}

function countText(wave: RolloutWave): string {
  return `${doneOf(wave.counts)}/${wave.total}`;
}

function rankOf({ state, counts }: RolloutWave): number {
  if (state === 'pending') return RANK.pending;
  return state === 'passed' && brokenOf(counts) === 0 ? RANK.passed : RANK.active;
}

function notes(wave: RolloutWave, paint: Paint, now: number): string {
  const { state, bakeUntil, approve, approvedBy, waivedBy } = wave;
  const bakes = state === 'baking' && bakeUntil !== null && Date.parse(bakeUntil) > now;
  const said = [
    ...countWords(wave.counts, paint),
    ...(bakes ? [`bakes ${between(bakeUntil, now)} more`] : []),
    ...(approve && approvedBy === null
      ? [state === 'passed' ? paint('warn', 'needs approval') : 'then approval']
      : []),
    ...(waivedBy === null ? [] : [`promoted by ${onOneLine(waivedBy)}`]),
  ];
  return said.join(', ');
}

/** What the wave is called: an abort stops those that were under way, though nothing of them failed. */
function waveWord({ state: of }: RolloutProgress, { state, counts }: RolloutWave): string {
  if (of !== 'aborted' || state === 'passed') return state;
  if (state === 'pending') return 'not begun';
  return state === 'failed' && brokenOf(counts) > 0 ? state : 'stopped';
}

/**
 * Of a wave that is through only the gates that did not pass; of one that has not begun none; and of one that has
 * failed none that has nothing to say.
 */
function isShown({ state }: RolloutWave, gate: GateStatus): boolean {
  if (state === 'pending') return false;
  if (state === 'failed' && gate.state === 'waiting') return false;
  return state !== 'passed' || !['passed', 'waiting', 'measuring'].includes(gate.state);
}

function gateLine(gate: GateStatus, limits: Record<string, string>, paint: Paint, now: number): string {
  const { counts, count, last, nextAt, dryRun } = gate;
  const bad = counts.failure + counts.inconclusive + counts.missed + counts.error;
  const said = [
    stateText(paint, gate.state),
    count === null ? `${counts.success} passed` : `${counts.success}/${count}`,
    ...(bad === 0 ? [] : [paint('bad', `${bad} did not`)]),
    ...(last === null ? [] : [`last ${lastText(last)}`]),
    ...(nextAt === null || Date.parse(nextAt) <= now ? [] : [`next in ${between(nextAt, now)}`]),
    ...(dryRun ? ['decides nothing'] : []),
    ...(limits[gate.gate] === undefined ? [] : [paint('dim', `limit: ${limits[gate.gate]}`)]),
  ];
  return `  gate ${gate.gate}  ${said.join(' · ')}`;
}

function lastText({ value, outcome, message }: NonNullable<GateStatus['last']>): string {
  const text = value === null ? outcome : `${Number(value.toPrecision(4))}`;
  return outcome === 'success' ? text : `${text} (${onOneLine(message)})`;
}
