import type { BackfillSum, InFlightTarget, RolloutOutage, RolloutProgress } from '../../contract/progress.ts';
import { onOneLine, plainLines, type Section } from './fit.ts';
import { heldText } from './held-text.ts';
import type { Paint } from './style.ts';
import { between, spell } from './time.ts';

/** Of 5,000 targets up to 256 are in flight: the slowest say what the rest is waited for. */
const IN_FLIGHT_SHOWN = 20;
const FAILURES_SHOWN = 8;
const SKIPS_SHOWN = 8;

/** A line for each target in flight, those first that run longest. */
export function inFlightSection({ inFlight, counts }: RolloutProgress, paint: Paint, now: number): Section {
  const shown = inFlight.slice(0, IN_FLIGHT_SHOWN);
  const columns = shown.map((target) => [target.tenant, target.server, onOneLine(target.migration ?? '')]);
  const widths = [0, 1, 2].map((at) => Math.max(0, ...columns.map((cells) => cells[at]?.length ?? 0)));
  const lines = shown.map((target, index) => {
    const cells = (columns[index] ?? []).map((text, at) => text.padEnd(widths[at] ?? 0));
    return { text: `  ${[...cells, inFlightText(target, paint, now)].join('  ')}`, rank: index };
  });
  const more = counts.running + counts.unknown - shown.length;
  const title = `${paint('bold', 'in flight')}${more > 0 ? paint('dim', `, and ${more} more`) : ''}`;
  return { title, lines, priority: 4, least: 1 };
}

function inFlightText(target: InFlightTarget, paint: Paint, now: number): string {
  const { state, migrationSince, startedAt, tries, backfill } = target;
  const said = [
    between(migrationSince ?? startedAt, now) ?? '',
    ...(tries > 1 ? [`try ${tries}`] : []),
    ...(state === 'unknown' ? [paint('bad', 'its worker died; its database is asked')] : []),
  ];
  if (backfill === null) return said.join(' · ');
  const { rowsDone, rowsEstimated, rate, etaSeconds, heldMs, reason, quarantined } = backfill;
  return [
    ...said,
    ...(reason === null ? [] : [paint('warn', heldText(reason))]),
    rowsText(rowsDone, rowsEstimated),
    ...(rate === null ? [] : [`${count(rate)} rows/s`]),
    ...(etaSeconds === null ? [] : [`${spell(etaSeconds)} left`]),
    ...(heldMs < 1_000 ? [] : [`held ${spell(heldMs / 1_000)} in all`]),
    ...(quarantined === 0 ? [] : [paint('bad', `${quarantined} ranges left out`)]),
  ].join(' · ');
}

/** Failures by kind, each with one example, and how to see the others. */
export function failureSection({ id, failures }: RolloutProgress, paint: Paint): Section {
  const groups = failures.slice(0, FAILURES_SHOWN).flatMap(({ code, count: many, error, example }, index) => [
    {
      text: `  ${paint('bad', '✖')} ${onOneLine(code)} × ${count(many)}, e.g. ${example.tenant} (${example.server})`,
      rank: index * 2,
    },
    { text: `      ${onOneLine(error.message)}`, rank: index * 2 + 1 },
  ]);
  const more = failures.length - FAILURES_SHOWN;
  const first = failures[0]?.example.tenant ?? '';
  const after = (text: string, place: number) => ({
    text: paint('dim', `  ${text}`),
    rank: groups.length + place,
  });
  const lines = [
    ...groups,
    ...(more > 0 ? [after(`and ${more} more kinds`, 2)] : []),
    ...(failures.length === 0 ? [] : [after(`all: fleet rollout get ${id} --state failed`, 0)]),
    ...(failures.length === 0 ? [] : [after(`one: fleet rollout get ${id} --target ${first}`, 1)]),
  ];
  return { title: paint('bold', 'failed'), lines, priority: 2, least: 2 };
}

/** Servers that are away: one line each, however many targets wait for them. */
export function outageSection({ outages }: RolloutProgress, paint: Paint, now: number): Section {
  const lines = outages.map((outage) => `  ${paint('bad', '✖')} ${outageText(outage, now)}`);
  return { title: paint('bold', 'servers away'), lines: plainLines(lines), priority: 3, least: 1 };
}

function outageText(
  { server, region, since, tries, nextTryAt, targets, error }: RolloutOutage,
  now: number,
): string {
  const why = error === null ? '' : ` · ${onOneLine(error.message)}`;
  if (since === null) return `${server} (${region}): ${plural(targets)} could not be reached${why}`;
  const due =
    nextTryAt !== null && Date.parse(nextTryAt) > now
      ? `tried again in ${between(nextTryAt, now)}`
      : 'tried now';
  const tried = tries === null ? '' : ` (${tries} in vain)`;
  return `${server} (${region}) does not answer for ${between(since, now)}: ${plural(targets)} wait · ${due}${tried}${why}`;
}

/** Each backfill over all its databases. */
export function backfillSection({ backfills }: RolloutProgress, paint: Paint): Section {
  const lines = backfills.map(
    (backfill) => `  ${onOneLine(backfill.migration)}: ${backfillText(backfill, paint)}`,
  );
  return { title: paint('bold', 'backfills'), lines: plainLines(lines), priority: 5, least: 1 };
}

function backfillText(sum: BackfillSum, paint: Paint): string {
  const { running, held, waiting, rowsDone, rowsEstimated, heldMs, etaSeconds, reason } = sum;
  return [
    `${running} running${held === 0 ? '' : paint('warn', `, ${held} of them held`)}`,
    ...(waiting === 0 ? [] : [`${waiting} left half way`]),
    rowsText(rowsDone, rowsEstimated),
    ...(etaSeconds === null ? [] : [`longest ${spell(etaSeconds)} left`]),
    ...(heldMs < 1_000 ? [] : [`held ${spell(heldMs / 1_000)} in all`]),
    ...(reason === null ? [] : [paint('warn', heldText(reason))]),
  ].join(' · ');
}

/** Who waits, why, and when the first of them runs. */
export function deferredSection({ deferred }: RolloutProgress, paint: Paint, now: number): Section {
  const lines = deferred.map(({ reason, count: many, nextAt, example }) => {
    const when = nextAt === null ? '' : ` · first at ${nextAt.slice(0, 16)}Z, in ${between(nextAt, now)}`;
    return `  ${paint('warn', '!')} ${count(many)} ${onOneLine(reason)}, e.g. ${example.tenant}${when}`;
  });
  return { title: paint('bold', 'deferred'), lines: plainLines(lines), priority: 5, least: 1 };
}

/** Who is left as they are, why, and by whom. */
export function skippedSection({ id, skipped }: RolloutProgress, paint: Paint): Section {
  const lines = skipped.slice(0, SKIPS_SHOWN).map(({ reason, by, notReached, count: many, example }) => {
    const why = notReached ? 'not reached before the abort' : by === null ? reason : `${reason} (${by})`;
    return `  ${paint('dim', '○')} ${count(many)} ${onOneLine(why)}, e.g. ${example.tenant}`;
  });
  const all = skipped.length === 0 ? [] : [paint('dim', `  all: fleet rollout get ${id} --state skipped`)];
  return { title: paint('bold', 'skipped'), lines: plainLines([...lines, ...all]), priority: 5, least: 1 };
}

function rowsText(done: number, estimated: number): string {
  const share = estimated === 0 ? '' : ` (${Math.min(100, Math.floor((done / estimated) * 100))} %)`;
  return `${count(done)} of ~${count(estimated)} rows${share}`;
}

function plural(targets: number): string {
  return targets === 1 ? '1 target' : `${count(targets)} targets`;
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en');
}
