import type { RolloutEvent, RolloutProgress } from '../../contract/progress.ts';
import type { RolloutSummary } from '../../contract/rollout.ts';
import { onOneLine } from './fit.ts';
import { brokenOf, doneOf } from './rollout-bar.ts';
import { nextWords } from './rollout-next.ts';
import { spell } from './time.ts';

/** Counts alone are told at most this often, in milliseconds: a log of 5,000 targets is read by people too. */
const COUNTS_MS = 10_000;

/** Lines for a log: each says when it was so, and nothing that one before it has said. */
export type LineMaker = (progress: RolloutProgress) => string[];

/** Makes the lines of one watch: what is there when it begins, every event since, and counts now and then. */
export function createLines(): LineMaker {
  let last: RolloutProgress | undefined;
  let countsAt = -Infinity;
  let counts = '';
  const toldKinds = new Set<string>();
  return (progress) => {
    const now = Date.parse(progress.now);
    const settled = last !== undefined && last.state !== progress.state;
    const news = last === undefined ? [] : newEvents(last, progress);
    const kinds = progress.failures.filter(({ code, error }) => !toldKinds.has(kindOf(code, error.message)));
    for (const { code, error } of kinds) toldKinds.add(kindOf(code, error.message));
    const words = countWords(progress);
    const due = last === undefined || settled || now - countsAt >= COUNTS_MS;
    const tell = due && words !== counts;
    if (tell) [counts, countsAt] = [words, now];
    const lines = [
      ...news.map((event) => `${instant(event.at)} ${eventWords(event)}`),
      ...kinds.map(({ code, error, example }) => {
        const where = `${example.tenant} (${example.server})`;
        return `${instant(progress.now)} failed: ${where}: ${onOneLine(`${code}: ${error.message}`)}`;
      }),
      ...(tell ? [`${instant(progress.now)} ${words}`] : []),
      ...(last === undefined || settled ? stateLines(progress) : []),
    ];
    last = progress;
    return lines;
  };
}

function newEvents(last: RolloutProgress, progress: RolloutProgress): RolloutEvent[] {
  const told = new Set(last.events.map(keyOf));
  return progress.events.filter((event) => !told.has(keyOf(event))).reverse();
}

function keyOf({ at, actor, what }: RolloutEvent): string {
  return `${at} ${actor} ${what}`;
}

function kindOf(code: string, message: string): string {
  return `${code} ${message}`;
}

function eventWords({ actor, what, reason }: RolloutEvent): string {
  return onOneLine(`${what} (${actor})${reason === null ? '' : ` "${reason}"`}`);
}

/** One line for all counts; the waves that are under way by their names. */
function countWords(progress: RolloutProgress): string {
  const { state, waves, counts, eta } = progress;
  const under = waves.filter(({ state: of }) => of !== 'pending' && of !== 'passed');
  const shown = (under.length === 0 ? waves : under).map(
    (wave) => `${wave.name} ${wave.state} ${doneOf(wave.counts)}/${wave.total}`,
  );
  const said = [
    ...shown,
    ...(counts.running === 0 ? [] : [`${counts.running} in flight`]),
    ...(brokenOf(counts) === 0 ? [] : [`${brokenOf(counts)} failing`]),
    ...(counts.deferred === 0 ? [] : [`${counts.deferred} deferred`]),
    ...(counts.skipped === 0 ? [] : [`${counts.skipped} skipped`]),
    ...(eta === null ? [] : [`about ${spell(eta.seconds)} left`]),
  ];
  return `${state}: ${said.join(' · ')}`;
}

/** Where it stands, for good or for a while, and what to do. */
function stateLines(progress: RolloutProgress): string[] {
  const { id, release, state, now } = progress;
  if (state === 'running') return [];
  const cause = causeText(progress);
  const next = nextWords(progress);
  return [
    `${instant(now)} rollout ${id}, release ${release}: ${state}${cause === undefined ? '' : `: ${onOneLine(cause)}`}`,
    ...(next === undefined ? [] : [`${instant(now)} next: ${onOneLine(next)}`]),
  ];
}

export function causeText({ cause }: RolloutSummary): string | undefined {
  return cause === null ? undefined : `${cause.code}: ${cause.message} (${cause.actor})`;
}

/** To the second: `2026-11-21T17:04:12Z`. */
function instant(text: string): string {
  return `${text.slice(0, 19)}Z`;
}
