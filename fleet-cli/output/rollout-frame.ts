import type { RolloutProgress } from '../../contract/progress.ts';
import {
  backfillSection,
  deferredSection,
  failureSection,
  inFlightSection,
  outageSection,
  skippedSection,
} from './rollout-parts.ts';
import { cleaned, cleanLine } from './clean.ts';
import { fitSections, onOneLine, plainLines, wrapWords, type Section, type Size } from './fit.ts';
import { heldText } from './held-text.ts';
import { nextWords } from './rollout-next.ts';
import { countWords, doneOf, notReached } from './rollout-bar.ts';
import { waveSection } from './rollout-waves.ts';
import { stateText, type Paint } from './style.ts';
import { between, spell } from './time.ts';

/** More of them say nothing more; `fleet audit list` has the rest. */
const EVENTS_SHOWN = 8;
/** Wide enough for each title of the header. */
const TITLE_WIDTH = 8;

/**
 * The picture of a rollout as lines, none longer than the columns and no more than the rows: pure. `now` is the
 * registry's clock, which goes on while nothing is read.
 */
export function rolloutFrame(raw: RolloutProgress, paint: Paint, size: Size, now: number): string[] {
  const progress = cleaned(raw, cleanLine);
  const sections: Section[] = [
    { lines: plainLines(header(progress, paint, size, now)), priority: 0, least: Infinity },
    waveSection(progress, paint, size, now),
    outageSection(progress, paint, now),
    failureSection(progress, paint),
    inFlightSection(progress, paint, now),
    backfillSection(progress, paint),
    deferredSection(progress, paint, now),
    skippedSection(progress, paint),
    eventSection(progress, paint),
  ];
  // A header alone may be longer than the terminal is high.
  return fitSections(sections, size).slice(0, size.rows);
}

function header(progress: RolloutProgress, paint: Paint, { columns }: Size, now: number): string[] {
  const { id, release, state, cause, undoOf, counts, total } = progress;
  const room = columns === undefined ? undefined : Math.max(20, columns - TITLE_WIDTH);
  const field = (title: string, lines: readonly string[]): string[] =>
    lines.map((line, index) => paint('dim', (index === 0 ? title : '').padEnd(TITLE_WIDTH)) + line);
  const next = nextWords(progress);
  const said =
    cause === null ? [] : wrapWords(onOneLine(`${cause.code}: ${cause.message} (${cause.actor})`), room);
  const targets = [`${doneOf(counts)}/${total} done`, ...countWords(counts, paint, notReached(progress))];
  return [
    ...field('rollout', [`${stateText(paint, state)}  ${id}`]),
    ...field('release', [release + (undoOf === undefined ? '' : `, undo of ${undoOf}`)]),
    ...field('cause', said),
    ...field('next', next === undefined ? [] : wrapWords(next, room)),
    ...field('by', [peopleText(progress)]),
    ...field('time', [timeText(progress, now)]),
    ...field('targets', [targets.join(' · ')]),
  ];
}

function peopleText({ author, approvedBy, supersededBy, waves }: RolloutProgress): string {
  const approvers = [approvedBy, ...waves.map((wave) => wave.approvedBy)].filter((name) => name !== null);
  const said = [
    author,
    ...(approvers.length === 0 ? [] : [`approved by ${[...new Set(approvers)].join(', ')}`]),
    ...(supersededBy === null ? [] : [`superseded by ${supersededBy}`]),
  ];
  return onOneLine(said.join(' · '));
}

function timeText({ startedAt, finishedAt, queuedAt, eta, noEta }: RolloutProgress, now: number): string {
  if (startedAt === null)
    return queuedAt === null ? 'not started' : `in the queue for ${between(queuedAt, now)}`;
  const took = spell(((finishedAt === null ? now : Date.parse(finishedAt)) - Date.parse(startedAt)) / 1_000);
  if (finishedAt !== null) return `took ${took}`;
  if (noEta !== undefined)
    return `${took} · no estimate: ${noEta.targets} ${noEta.reason === null ? 'held' : heldText(noEta.reason)}`;
  if (eta === null) return took;
  const until = eta.until === 'end' ? '' : ' until an approval is needed';
  return `${took} · about ${between(eta.at, now)} left${until} (${dayAndClock(eta.at, now)})`;
}

function eventSection({ events }: RolloutProgress, paint: Paint): Section {
  const texts = events.slice(0, EVENTS_SHOWN).map(({ at, actor, what, reason }) => {
    const why = reason === null ? '' : ` "${onOneLine(reason)}"`;
    return `  ${paint('dim', clock(at))}  ${onOneLine(what)} ${paint('dim', `(${onOneLine(actor)})`)}${why}`;
  });
  const lines = texts.map((text, rank) => ({ text, rank }));
  return { title: paint('bold', 'last events'), lines, priority: 6, least: 1 };
}

/** The same, with the date where that is not the one of now. */
function dayAndClock(instant: string, now: number): string {
  const day = instant.slice(0, 10);
  return day === new Date(now).toISOString().slice(0, 10) ? clock(instant) : `${day} ${clock(instant)}`;
}

/** The time of the day, UTC as everywhere: `17:04:12Z`. */
function clock(instant: string): string {
  return `${instant.slice(11, 19)}Z`;
}
