import { Cron } from 'croner';
import { durationSeconds } from '../../../contract/duration.ts';
import type { CalendarRule } from '../../../contract/rollout.ts';
import { FleetError } from '../../../platform/errors.ts';
import { matches, type Matched } from './match.ts';

/** Whether a target may run at an instant, and if not, why and from when on. */
export type Opening = { open: true } | { open: false; at: Date; reason: string };

/**
 * Windows and freezes. A target may run where no freeze that matches it is on, and, if windows match it, one of
 * them is open. Pure: the instant is always given.
 */
export interface Calendar {
  /** Whether everything may run at any time. */
  isEmpty: boolean;
  at(target: Matched, now: Date): Opening;
}

interface Window {
  cron: Cron;
  lastsMs: number;
}

/**
 * Steps from a freeze's end to the next window and back. Each is at least a minute on; rules that are still closed
 * after this many are taken as never open.
 */
const MAX_STEPS = 1_000;

/** @throws FleetError 400 `calendar_invalid` naming the rule: a bad pattern or time zone, an empty freeze. */
export function createCalendar(rules: readonly CalendarRule[]): Calendar {
  const parsed = rules.map((rule, index) => ({ index, match: rule.match, ...parseRule(rule, index) }));
  // Thousands of targets share a few combinations of rules: each is worked out once per instant.
  const known = new Map<string, Opening>();
  let knownAt = Number.NaN;
  return {
    isEmpty: parsed.length === 0,
    at: (target, now) => {
      if (now.getTime() !== knownAt) known.clear();
      knownAt = now.getTime();
      const mine = parsed.filter((rule) => matches(rule.match, target));
      const key = mine.map((rule) => rule.index).join();
      const found = known.get(key);
      if (found !== undefined) return found;
      const windows = mine.flatMap((rule) => (rule.window === undefined ? [] : [rule.window]));
      const freezes = mine.flatMap((rule) => (rule.freeze === undefined ? [] : [rule.freeze]));
      const answer = opening(windows, freezes, now);
      known.set(key, answer);
      return answer;
    },
  };
}

interface Freeze {
  from: number;
  to: number;
}

function opening(windows: readonly Window[], freezes: readonly Freeze[], now: Date): Opening {
  let at = now;
  let reason: string | undefined;
  for (let step = 0; step < MAX_STEPS; step += 1) {
    const frozen = freezes.find((freeze) => freeze.from <= at.getTime() && at.getTime() < freeze.to);
    if (frozen !== undefined) {
      reason ??= 'frozen';
      at = new Date(frozen.to);
    } else if (windows.length > 0 && !windows.some((window) => isOpen(window, at))) {
      reason ??= 'outside its window';
      const next = nextStart(windows, at);
      if (next === undefined) break;
      at = next;
    } else {
      return reason === undefined ? { open: true } : { open: false, at, reason };
    }
  }
  return { open: false, at: NEVER, reason: 'outside its window, which never opens again' };
}

/** As far as PostgreSQL and JavaScript agree; a person has to skip such a target or abort. */
const NEVER = new Date('9999-12-31T00:00:00Z');

/** The window that began last ends last, as all of one rule are equally long. */
function isOpen({ cron, lastsMs }: Window, at: Date): boolean {
  // croner answers whole seconds before the reference, and none that is equal to it.
  const starts = cron.previousRuns(2, new Date(at.getTime() + 1_000));
  const start = starts.map((date) => date.getTime()).find((time) => time <= at.getTime());
  return start !== undefined && at.getTime() < start + lastsMs;
}

function nextStart(windows: readonly Window[], at: Date): Date | undefined {
  const starts = windows.flatMap(({ cron }) => cron.nextRun(at)?.getTime() ?? []);
  return starts.length === 0 ? undefined : new Date(Math.min(...starts));
}

function parseRule(rule: CalendarRule, index: number): { window?: Window; freeze?: Freeze } {
  if ('freeze' in rule) {
    const freeze = { from: Date.parse(rule.freeze.from), to: Date.parse(rule.freeze.to) };
    if (freeze.from < freeze.to) return { freeze };
    throw invalid(index, 'freeze', 'ends before it begins');
  }
  const cron = parseCron(rule, index);
  if (cron.nextRun() === null) throw invalid(index, 'open.cron', 'never opens');
  return { window: { cron, lastsMs: durationSeconds(rule.open.for) * 1_000 } };
}

function parseCron(rule: Extract<CalendarRule, { open: unknown }>, index: number): Cron {
  if (!isTimeZone(rule.timeZone)) throw invalid(index, 'timeZone', `${rule.timeZone} is no time zone`);
  try {
    return new Cron(rule.open.cron, { mode: '5-part', timezone: rule.timeZone, paused: true });
  } catch (cause) {
    throw invalid(index, 'open.cron', `${rule.open.cron} is no cron pattern of five fields`, cause);
  }
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

function invalid(index: number, key: string, message: string, cause?: unknown): FleetError {
  const path = `calendar.${index}.${key}`;
  return new FleetError({
    code: 'calendar_invalid',
    status: 400,
    message: `${path}: ${message}`,
    fix: 'windows are { cron: "0 2 * * 1-5", for: 2h } in timeZone; freezes have from before to',
    errors: [{ path, message }],
    cause,
  });
}
