import type {
  Estimate,
  LockMode,
  Rehearsal,
  RehearsalGroup,
  RehearsalSummary,
} from '../../contract/rehearsal.ts';
import { stateText, type Paint, type Tone } from './style.ts';
import { renderFields, renderTable } from './table.ts';
import { age, lasted } from './time.ts';

/** More groups, tables and names than these no one reads; `-o json` has everything. */
const MAX_GROUPS = 8;
const MAX_TABLES = 12;
const TENANTS_SHOWN = 8;

/** What others have to wait with while a table is locked so. */
const BLOCKS: Partial<Record<LockMode, string>> = {
  Share: 'writes',
  ShareRowExclusive: 'writes',
  Exclusive: 'writes',
  AccessExclusive: 'reads and writes',
};

/** A rehearsal as a person reads it who has to decide on the rollout: who would fail and why comes first. */
export function renderRehearsal(rehearsal: Rehearsal, paint: Paint): string {
  const blocks = [
    renderGroups('would fail', rehearsal.failures, 'bad', paint),
    renderGroups('not, or not wholly, rehearsed', rehearsal.gaps, 'warn', paint),
    renderTables(rehearsal, paint),
    renderHeader(rehearsal, paint),
  ];
  return blocks.filter((block) => block !== undefined).join('\n\n');
}

function renderHeader(rehearsal: Rehearsal, paint: Paint): string {
  const { lockWaitMs, heldMs, maxHoldMs } = rehearsal;
  return renderFields(
    rehearsal,
    [
      { title: 'rehearsal', value: ({ id }) => id },
      { title: 'rollout', value: ({ rolloutId }) => rolloutId },
      { title: 'release', value: ({ release }) => release },
      { title: 'state', value: ({ state }) => stateText(paint, state) },
      { title: 'targets', value: ({ counts, total }) => countsText(counts, total, paint) },
      { title: 'lock wait', value: () => spread(lockWaitMs) },
      { title: 'locks held', value: () => heldMs && `${spread(heldMs) ?? ''}, never over ${maxHoldMs} ms` },
      { title: 'rollout takes', value: ({ estimate }) => estimateText(estimate) },
      { title: 'took', value: ({ startedAt, finishedAt }) => lasted(startedAt, finishedAt) },
    ],
    paint,
  );
}

function countsText(counts: Rehearsal['counts'], total: number, paint: Paint): string {
  const { passes, fails, not_rehearsed: open, busy, unreachable, skipped, pending } = counts;
  const said = [
    `${total} total`,
    ...(passes > 0 ? [paint('good', `${passes} pass`)] : []),
    ...(fails > 0 ? [paint('bad', `${fails} would fail`)] : []),
    ...(open > 0 ? [paint('warn', `${open} not wholly rehearsed`)] : []),
    ...(busy > 0 ? [paint('warn', `${busy} busy`)] : []),
    ...(unreachable > 0 ? [paint('bad', `${unreachable} unreachable`)] : []),
    ...(skipped > 0 ? [`${skipped} skipped`] : []),
    ...(pending > 0 ? [`${pending} to go`] : []),
  ];
  return said.join(' · ');
}

function spread(values: { median: number; max: number } | null): string | undefined {
  return values === null ? undefined : `median ${values.median} ms, longest ${values.max} ms`;
}

function renderGroups(
  title: string,
  groups: readonly RehearsalGroup[],
  tone: Tone,
  paint: Paint,
): string | undefined {
  if (groups.length === 0) return undefined;
  const lines = groups
    .slice(0, MAX_GROUPS)
    .flatMap((group) => [
      `${paint(tone, tone === 'bad' ? '✖' : '!')} ${group.code} × ${group.tenants.length}: ${namesText(group.tenants)}`,
      `    ${group.message}`,
      ...(group.fix === undefined ? [] : [`    ${paint('dim', group.fix)}`]),
    ]);
  const more = groups.length - MAX_GROUPS;
  return [paint('bold', title), ...lines, ...(more > 0 ? [`  and ${more} more kinds`] : [])].join('\n');
}

function namesText(names: readonly string[]): string {
  const more = names.length - TENANTS_SHOWN;
  return names.slice(0, TENANTS_SHOWN).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** Tables that others cannot read or write for a while, and those that are written again. */
function renderTables({ tables }: Rehearsal, paint: Paint): string | undefined {
  const heavy = tables.filter(({ lock, rewritten }) => rewritten > 0 || (lock !== null && lock in BLOCKS));
  if (heavy.length === 0) return undefined;
  const shown = renderTable(
    heavy.slice(0, MAX_TABLES),
    [
      { title: 'table', value: ({ table }) => table },
      { title: 'migration', value: ({ migration }) => migration },
      { title: 'lock', value: ({ lock }) => lock },
      { title: 'blocks', value: ({ lock }) => (lock === null ? undefined : BLOCKS[lock]) },
      { title: 'longest', value: ({ maxMs }) => (maxMs === null ? undefined : `${maxMs} ms`), right: true },
      { title: 'rewritten', value: rewrittenText, right: true },
      { title: 'targets', value: ({ targets }) => targets, right: true },
    ],
    paint,
    undefined,
  );
  const more = heavy.length - MAX_TABLES;
  return more > 0 ? `${shown}\n  and ${more} more` : shown;
}

function rewrittenText({ rewritten, maxBytes }: Rehearsal['tables'][number]): string | undefined {
  if (rewritten === 0) return undefined;
  return `${rewritten} of them, up to ${sizeText(maxBytes)}`;
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];
const KILO = 1_024;

function sizeText(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log(Math.max(1, bytes)) / Math.log(KILO)));
  return `${Math.round(bytes / KILO ** power)} ${UNITS[power] ?? 'B'}`;
}

/** `about 12.5 s, by the rehearsal`, with what is missing from it. */
export function estimateText(estimate: Estimate | null | undefined): string | undefined {
  if (estimate === null || estimate === undefined) return undefined;
  const { seconds, basis, unmeasured } = estimate;
  const basisText = basis === 'rehearsal' ? 'by the rehearsal' : 'by earlier rollouts';
  const without = unmeasured.length === 0 ? '' : `; without ${unmeasured.join(', ')}, not measured yet`;
  return `about ${timeText(seconds)}, ${basisText}${without}`;
}

/** The last rehearsal in one line. */
export function rehearsalText(last: RehearsalSummary | null | undefined, paint: Paint): string | undefined {
  if (last === null || last === undefined) return undefined;
  const when = age(last.finishedAt);
  const state = last.state === 'succeeded' ? '' : ` (${last.state})`;
  return `${countsText(last.counts, last.total, paint)}${state}${when === undefined ? '' : `, ${when} ago`}`;
}

/** `0.4 s`, `3 m 20 s` or `2 h 5 m`. */
function timeText(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  const whole = Math.round(seconds);
  if (whole < 3_600) return `${Math.floor(whole / 60)} m ${whole % 60} s`;
  return `${Math.floor(whole / 3_600)} h ${Math.floor((whole % 3_600) / 60)} m`;
}

/** One line for a log file. */
export function rehearsalLine({ total, counts }: Rehearsal): string {
  const failing = counts.fails === 0 ? '' : ` · ${counts.fails} would fail`;
  return `rehearsed ${total - counts.pending}/${total}${failing}`;
}
