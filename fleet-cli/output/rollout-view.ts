import type {
  Rollout,
  RolloutSummary,
  RolloutTarget,
  RolloutWave,
  TargetCounts,
} from '../../contract/rollout.ts';
import { renderBackfills } from './backfill-view.ts';
import { stateText, type Paint, type Tone } from './style.ts';
import { renderFields, renderTable } from './table.ts';
import { age, lasted } from './time.ts';
import type { Column, View } from './view.ts';

/** Fits beside name, counts and state in 80 columns. */
const BAR_WIDTH = 24;

/** More groups than this no one reads; `-o json` has every target. */
const MAX_FAILURE_GROUPS = 8;

const headerColumns: Column<RolloutSummary>[] = [
  { title: 'rollout', value: (rollout) => rollout.id },
  { title: 'release', value: (rollout) => rollout.release },
  { title: 'state', value: (rollout, paint) => stateText(paint, rollout.state) },
  { title: 'targets', value: (rollout) => countsText(rollout.counts, rollout.total) },
  { title: 'took', value: (rollout) => lasted(rollout.startedAt, rollout.finishedAt) },
  { title: 'cause', value: causeText },
  { title: 'author', value: (rollout) => rollout.author },
];

export const rolloutView: View<RolloutSummary> = {
  noun: 'rollouts',
  name: (rollout) => rollout.id,
  columns: [
    { title: 'id', value: (rollout) => rollout.id, whole: true },
    { title: 'release', value: (rollout) => rollout.release },
    { title: 'state', value: (rollout, paint) => stateText(paint, rollout.state) },
    { title: 'done', value: (rollout) => `${doneOf(rollout.counts)}/${rollout.total}`, right: true },
    { title: 'failed', value: (rollout) => brokenOf(rollout.counts), right: true },
    { title: 'took', value: (rollout) => lasted(rollout.startedAt, rollout.finishedAt), right: true },
    { title: 'age', value: (rollout) => age(rollout.createdAt), right: true },
    { title: 'author', value: (rollout) => rollout.author },
    { title: 'cause', value: causeText, wide: true },
  ],
};

/** The whole picture of one rollout: header, a bar for each wave, and what fails, grouped by its error. */
export function renderRollout(rollout: Rollout, paint: Paint): string {
  const blocks = [renderFields(rollout, headerColumns, paint), renderWaves(rollout.waves, paint)];
  const more = [renderBackfills(rollout.targets, paint), renderFailures(rollout.targets, paint)];
  return [...blocks, ...more.filter((block) => block !== undefined)].join('\n\n');
}

function renderWaves(waves: RolloutWave[], paint: Paint): string {
  const columns: Column<RolloutWave>[] = [
    { title: 'wave', value: (wave) => wave.name },
    { title: 'progress', value: (wave) => bar(wave, paint) },
    { title: 'done', value: (wave) => `${doneOf(wave.counts)}/${wave.total}`, right: true },
    { title: 'state', value: (wave) => stateText(paint, wave.state) },
    { title: 'notes', value: (wave) => notes(wave, paint) },
  ];
  return renderTable(waves, columns, paint, undefined);
}

/** Each shade is a share of the wave: done, in flight, failed, and what is left. */
function bar(wave: RolloutWave, paint: Paint): string {
  if (wave.total === 0) return paint('dim', '·'.repeat(BAR_WIDTH));
  const parts: [Tone, string, number][] = [
    ['good', '█', doneOf(wave.counts)],
    ['bad', '▒', brokenOf(wave.counts)],
    ['busy', '▓', wave.counts.running],
  ];
  let used = 0;
  let sum = 0;
  const drawn = parts.map(([tone, shade, count]) => {
    sum += count;
    // A failure or a running target is never rounded away.
    const end = Math.min(
      BAR_WIDTH,
      Math.max(Math.floor((sum / wave.total) * BAR_WIDTH), used + (count > 0 ? 1 : 0)),
    );
    const text = shade.repeat(end - used);
    used = end;
    return paint(tone, text);
  });
  return drawn.join('') + paint('dim', '░'.repeat(BAR_WIDTH - used));
}

function notes(wave: RolloutWave, paint: Paint): string | undefined {
  const { running, failed, unreachable, unknown, deferred } = wave.counts;
  const said = [
    running > 0 ? `${running} running` : '',
    failed > 0 ? paint('bad', `${failed} failed`) : '',
    unreachable > 0 ? paint('bad', `${unreachable} unreachable`) : '',
    unknown > 0 ? paint('bad', `${unknown} unknown`) : '',
    deferred > 0 ? `${deferred} deferred` : '',
    wave.state === 'baking' && wave.bakeUntil !== null ? `bakes until ${wave.bakeUntil}` : '',
  ];
  return said.filter((part) => part !== '').join(', ') || undefined;
}

interface FailureGroup {
  code: string;
  message: string;
  example: string;
  count: number;
}

function renderFailures(targets: RolloutTarget[], paint: Paint): string | undefined {
  const groups = groupFailures(targets);
  if (groups.length === 0) return undefined;
  const lines = groups
    .slice(0, MAX_FAILURE_GROUPS)
    .flatMap((group) => [
      `${paint('bad', '✖')} ${group.code} × ${group.count}, e.g. ${group.example}`,
      `    ${group.message}`,
    ]);
  const more = groups.length - MAX_FAILURE_GROUPS;
  return [paint('bold', 'failing'), ...lines, ...(more > 0 ? [`  and ${more} more kinds`] : [])].join('\n');
}

/** Failing targets by error code and message without what differs from target to target; most frequent first. */
export function groupFailures(targets: RolloutTarget[]): FailureGroup[] {
  const groups = new Map<string, FailureGroup>();
  for (const target of targets) {
    if (!['failed', 'unreachable', 'unknown'].includes(target.state)) continue;
    const code = target.error?.code ?? target.state;
    const message = target.error?.message ?? target.reason ?? target.state;
    const key = `${code} ${message.replaceAll(target.tenant, '*').replace(/[0-9a-f]{8,}|\d+/g, '#')}`;
    const group = groups.get(key) ?? {
      code,
      message,
      example: `${target.tenant} (${target.region})`,
      count: 0,
    };
    groups.set(key, { ...group, count: group.count + 1 });
  }
  return [...groups.values()].sort((a, b) => b.count - a.count);
}

/** One line for a log file: what has changed is seen by comparing lines. */
export function rolloutLine(rollout: Rollout): string {
  const waves = rollout.waves.map(
    (wave) => `${wave.name} ${wave.state} ${doneOf(wave.counts)}/${wave.total}`,
  );
  const broken = brokenOf(rollout.counts);
  return `${rollout.state}: ${waves.join(' · ')}${broken === 0 ? '' : ` · ${broken} failing`}`;
}

export function causeText(rollout: RolloutSummary): string | undefined {
  const { cause } = rollout;
  return cause === null ? undefined : `${cause.code}: ${cause.message} (${cause.actor})`;
}

function countsText(counts: TargetCounts, total: number): string {
  const said = Object.entries(counts).filter(([, count]) => count > 0);
  return [`${total} total`, ...said.map(([state, count]) => `${count} ${state}`)].join(' · ');
}

/** Targets that nothing is left to do for. */
function doneOf(counts: TargetCounts): number {
  return counts.verified + counts.skipped;
}

function brokenOf(counts: TargetCounts): number {
  return counts.failed + counts.unreachable + counts.unknown;
}
