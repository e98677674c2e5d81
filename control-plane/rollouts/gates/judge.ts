import type { GateState, GateStatus, MeasurementOutcome } from '../../../contract/gate.ts';
import type { Verdict } from '../engine/gating.ts';
import { CAUSE_CODES, GO, type Gate, type GateRules, type Measured } from './gate.ts';

/** Successes, failures and the rest, with the measurements that nobody made in their time. */
export type GateCounts = GateStatus['counts'];

export interface Judgement {
  state: GateState;
  counts: GateCounts;
  /** When the next measurement is due; null where there is none any more. */
  nextAt: Date | null;
}

/** After an error the source is asked again sooner, in milliseconds: it may have been a hiccup. */
const ERROR_RETRY_MS = 10_000;

/**
 * A measurement is missed when it is later than this, in milliseconds: a worker that hangs is replaced when its lease
 * of 15 s has run out, and that alone should stop no rollout.
 */
const LATE_MS = 15_000;

const NO_COUNTS: GateCounts = { success: 0, failure: 0, inconclusive: 0, error: 0, missed: 0 };

/**
 * Judges a gate by its measurements since `startsAt`, in their order (null: not begun). Pure.
 *
 * Limits are what is borne: `failures > failureLimit` fails. An error counts only among errors in a row, and any
 * other outcome ends the row. Measurements are due at `startsAt` and each interval after it; where a gate has to
 * reach a count, an interval that went by without any is a missed one, and counts as inconclusive. So does nobody
 * pass a gate by being away. Who is still measuring, this gate or another (`busy`), is not away: a source that takes
 * longer than the interval is asked again as soon as it has answered. The first to be reached decides, for good: what
 * comes after it changes nothing.
 */
export function judge(
  rules: GateRules,
  measurements: readonly Measured[],
  clock: { startsAt: Date | null; now: Date; busy?: readonly Span[] },
): Judgement {
  const { startsAt, now } = clock;
  if (startsAt === null) return { state: 'waiting', counts: NO_COUNTS, nextAt: null };
  const slotOf = (at: Date, lateMs = 0): number =>
    Math.floor((at.getTime() - lateMs - startsAt.getTime()) / rules.intervalMs);
  const tally = { counts: { ...NO_COUNTS }, errorsInARow: 0 };
  let slot = -1;
  let last: Measured | undefined;
  const missedUntil = (at: Date): number =>
    rules.count === null ? 0 : Math.max(0, slotOf(at, LATE_MS) - slot - 1);
  // The interval in which it ended is not measured yet.
  const passOver = (span: Span): void => {
    tally.counts.missed += missedUntil(span.measuredAt);
    slot = Math.max(slot, slotOf(new Date(span.measuredAt.getTime() + (span.tookMs ?? 0))) - 1);
  };
  const others = (clock.busy ?? []).values();
  let other = others.next();
  const passOthers = (until: Date): void => {
    for (; !other.done && other.value.measuredAt <= until; other = others.next()) passOver(other.value);
  };
  for (const measured of measurements) {
    if (measured.measuredAt < startsAt) continue;
    passOthers(measured.measuredAt);
    passOver(measured);
    slot = Math.max(slot, slotOf(measured.measuredAt));
    // What was missed before it has decided already.
    const state = decide(rules, tally) ?? decide(rules, add(tally, measured.outcome));
    if (state !== undefined) return { state, counts: tally.counts, nextAt: null };
    last = measured;
  }
  passOthers(now);
  tally.counts.missed += missedUntil(now);
  const state = decide(rules, tally);
  if (state !== undefined) return { state, counts: tally.counts, nextAt: null };
  const next = new Date(startsAt.getTime() + (slot + 1) * rules.intervalMs);
  const nextAt = last?.outcome === 'error' ? earlier(next, retryAt(rules, last)) : next;
  return { state: last === undefined ? 'waiting' : 'measuring', counts: tally.counts, nextAt };
}

/** When the measurer was at work. */
export type Span = Pick<Measured, 'measuredAt' | 'tookMs'>;

/** Whether it was long enough to hold up other gates. */
export function isLong({ tookMs = 0 }: Span): boolean {
  return tookMs > LATE_MS;
}

interface Tally {
  counts: GateCounts;
  errorsInARow: number;
}

function add(tally: Tally, outcome: MeasurementOutcome): Tally {
  tally.counts[outcome] += 1;
  tally.errorsInARow = outcome === 'error' ? tally.errorsInARow + 1 : 0;
  return tally;
}

function decide(rules: GateRules, { counts, errorsInARow }: Tally): GateState | undefined {
  if (counts.failure > rules.failureLimit) return 'failed';
  if (counts.inconclusive + counts.missed > rules.inconclusiveLimit) return 'inconclusive';
  if (errorsInARow > rules.consecutiveErrorLimit) return 'error';
  return rules.count !== null && counts.success >= rules.count ? 'passed' : undefined;
}

/** When to ask again after `last`, where there is no grid: a target that has no answer yet. */
export function retryAt(rules: GateRules, last: Measured): Date {
  const wait = last.outcome === 'error' ? Math.min(ERROR_RETRY_MS, rules.intervalMs) : rules.intervalMs;
  return new Date(last.measuredAt.getTime() + wait);
}

function earlier(a: Date, b: Date): Date {
  return a < b ? a : b;
}

/** A gate with its judgement, and whether the wave could pass now as far as it is concerned. */
export interface JudgedGate {
  gate: Gate;
  judgement: Judgement;
  satisfied: boolean;
  /** Of the last measurement, for the words of a stop. */
  lastMessage?: string | undefined;
  first?: NonNullable<Verdict['cause']>['first'];
}

/** One verdict over all gates of a wave: the worst of them. Dry runs take no part but in when to measure next. */
export function verdictOf(rollout: { id: string; wave: string }, judged: readonly JudgedGate[]): Verdict {
  const deciding = judged.filter(({ gate }) => !gate.dryRun);
  const stopped =
    deciding.find(({ judgement }) => judgement.state === 'failed') ??
    deciding.find(({ judgement }) => CAUSE_CODES[judgement.state] !== undefined);
  if (stopped !== undefined) {
    const state = stopped.judgement.state === 'failed' ? 'halt' : 'pause';
    return { state, cause: causeOf(rollout, stopped) };
  }
  const next = judged.flatMap(({ judgement }) => (judgement.nextAt === null ? [] : [judgement.nextAt]));
  const verdict: Verdict = deciding.every(({ satisfied }) => satisfied) ? GO : { state: 'wait' };
  return next.length === 0 ? verdict : { ...verdict, nextAt: next.reduce(earlier) };
}

function causeOf(rollout: { id: string; wave: string }, stopped: JudgedGate): NonNullable<Verdict['cause']> {
  const { gate, judgement, lastMessage, first } = stopped;
  const said = lastMessage === undefined ? '' : `; the last: ${lastMessage}`;
  const goOn = judgement.state === 'failed' ? 'retry' : 'resume';
  return {
    code: CAUSE_CODES[judgement.state] ?? 'gate_failed',
    message: `wave ${rollout.wave}: gate ${gate.name} ${reasonOf(gate.rules, judgement)}${said}`,
    fix:
      `mend what it watches, then fleet rollout ${goOn} ${rollout.id} to measure anew, ` +
      'or promote or abort',
    ...(first === undefined ? {} : { first }),
  };
}

function reasonOf(rules: GateRules, { state, counts }: Judgement): string {
  if (state === 'failed') return `failed ${times(counts.failure)}, it bears ${rules.failureLimit}`;
  if (state === 'error') {
    return `got no answer ${times(rules.consecutiveErrorLimit + 1)} in a row, it bears ${rules.consecutiveErrorLimit}`;
  }
  const missed = counts.missed === 0 ? '' : `, ${times(counts.missed)} of them because nobody measured`;
  const without = counts.inconclusive + counts.missed;
  return `had too little data ${times(without)}${missed}; it bears ${rules.inconclusiveLimit}`;
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}
