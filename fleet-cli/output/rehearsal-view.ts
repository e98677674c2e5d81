import type {
  Estimate,
  LockMode,
  Rehearsal,
  RehearsalGroup,
  RehearsalSummary,
} from '../../contract/rehearsal.ts';
import { counted, someOf } from './plural.ts';
import { stateText, type Paint, type Tone } from './style.ts';
import { renderFields, renderTable } from './table.ts';
import { age, lasted } from './time.ts';

/** More groups, tables and names than these no one reads; `-o json` has everything. */
const MAX_GROUPS = 8;
const MAX_TABLES = 12;
const TENANTS_SHOWN = 8;
const NAMES_SHOWN = 4;
/** From so many seconds on, a tenth of one is of no use in what is a lower bound anyway. */
const EXACT_BELOW_S = 10;

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
    renderMigrations(rehearsal, paint),
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
      { title: 'state', value: (each) => endText(each, paint) },
      { title: 'targets', value: (each) => countsText(each, paint) },
      ...(rehearsal.untried.length === 0 ? [] : [{ title: 'tried nowhere', value: untriedText }]),
      { title: 'lock wait', value: () => spread(lockWaitMs) },
      { title: 'locks held', value: () => heldMs && `${spread(heldMs) ?? ''}, never over ${maxHoldMs} ms` },
      { title: 'rollout takes', value: ({ estimate }) => estimateText(estimate) },
      { title: 'took', value: ({ startedAt, finishedAt }) => lasted(startedAt, finishedAt) },
    ],
    paint,
  );
}

function untriedText({ untried }: Rehearsal): string {
  return untried.join(', ');
}

/** That it has ended says nothing of what it has found. */
function endText({ state, counts, untried }: Rehearsal, paint: Paint): string {
  if (state !== 'succeeded') return stateText(paint, state);
  if (counts.fails > 0) return paint('bad', '✖ finished');
  const isWhole = untried.length + counts.not_rehearsed + counts.busy + counts.unreachable === 0;
  return isWhole ? paint('good', '✔ finished') : paint('warn', '! finished');
}

function countsText({ counts, partly, total }: RehearsalSummary, paint: Paint): string {
  const { passes, fails, not_rehearsed, busy, unreachable, skipped, pending } = counts;
  const open = not_rehearsed - partly;
  const said = [
    `${total} total`,
    ...(passes > 0 ? [paint('good', `${passes} pass`)] : []),
    ...(fails > 0 ? [paint('bad', `${fails} would fail`)] : []),
    ...(partly > 0 ? [paint('warn', `${partly} pass what can be tried in place`)] : []),
    ...(open > 0 ? [paint('warn', `${open} not rehearsed`)] : []),
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
      `${paint(tone, tone === 'bad' ? '✖' : '!')} ${group.code} × ${group.tenants.length}: ${someOf(group.tenants, TENANTS_SHOWN)}`,
      `    ${group.message}`,
      ...(group.fix === undefined ? [] : [`    ${paint('dim', group.fix)}`]),
    ]);
  const more = groups.length - MAX_GROUPS;
  return [paint('bold', title), ...lines, ...(more > 0 ? [`  and ${more} more kinds`] : [])].join('\n');
}

/** On how many targets each migration was tried; nothing where each was on all. */
function renderMigrations({ migrations }: Rehearsal, paint: Paint): string | undefined {
  if (migrations.every(({ untried }) => untried === 0)) return undefined;
  // Those that say most, in their order.
  const shown = new Set(migrations.toSorted((a, b) => b.untried - a.untried).slice(0, MAX_TABLES));
  const table = renderTable(
    migrations.filter((each) => shown.has(each)),
    [
      { title: 'migration', value: ({ name }) => name },
      { title: 'targets', value: ({ targets }) => targets, right: true },
      { title: 'tried', value: ({ targets, untried }) => targets - untried, right: true },
      { title: 'passed', value: ({ passed }) => passed, right: true },
      { title: 'failed', value: ({ failed }) => failed, right: true },
      { title: 'untried', value: ({ untried }) => untried, right: true },
    ],
    paint,
    undefined,
  );
  const more = migrations.length - shown.size;
  return more > 0 ? `${table}\n  and ${more} more` : table;
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

/** `about 12.5 s, by the rehearsal`; or, with what is not in it, `at least 12 s, by the rehearsal; 005_fill not measured`. */
export function estimateText(estimate: Estimate | null | undefined, later?: string): string | undefined {
  if (estimate === null || estimate === undefined) return undefined;
  const { seconds, basis, unmeasured } = estimate;
  const basisText = basis === 'rehearsal' ? 'by the rehearsal' : 'by earlier rollouts';
  const without = [
    ...(unmeasured.length === 0 ? [] : [`${someOf(unmeasured, NAMES_SHOWN)} not measured`]),
    ...(later === undefined ? [] : [later]),
  ];
  if (without.length === 0) return `about ${timeText(seconds)}, ${basisText}`;
  const least = seconds < EXACT_BELOW_S ? seconds : Math.floor(seconds);
  return [`at least ${timeText(least)}, ${basisText}`, ...without].join('; ');
}

/** The last rehearsal in one line. */
export function rehearsalText(last: RehearsalSummary | null | undefined, paint: Paint): string | undefined {
  if (last === null || last === undefined) return undefined;
  const when = age(last.finishedAt);
  const state = last.state === 'succeeded' ? '' : ` (${last.state})`;
  const nowhere = nowhereText(last);
  return [
    `${countsText(last, paint)}${state}${when === undefined ? '' : `, ${when} ago`}`,
    ...(nowhere === undefined ? [] : [paint('warn', `${nowhere}: --clone`)]),
  ].join('; ');
}

/** `0005_idx, 0006_validate were tried nowhere`; undefined where each was tried, or it is not over. */
export function nowhereText({ untried, finishedAt }: RehearsalSummary): string | undefined {
  if (finishedAt === null || untried.length === 0) return undefined;
  return `${someOf(untried, NAMES_SHOWN)} ${untried.length === 1 ? 'was' : 'were'} tried nowhere`;
}

/** The same, with those that were tried on some targets only. */
export function gapsText(rehearsal: Rehearsal): string | undefined {
  const parts = rehearsal.migrations
    .filter(({ targets, untried }) => untried > 0 && untried < targets)
    .map(
      ({ name, targets, untried }) =>
        `${name} was tried on ${targets - untried} of ${counted(targets, 'target')}`,
    );
  const nowhere = nowhereText(rehearsal);
  const all = [...(nowhere === undefined ? [] : [nowhere]), ...parts];
  return all.length === 0 ? undefined : someOf(all, NAMES_SHOWN);
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
