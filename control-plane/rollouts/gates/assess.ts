import { isLong, judge, retryAt, type JudgedGate, type Judgement, type Span } from './judge.ts';
import { CAUSE_CODES, isWatched, type Gate } from './gate.ts';
import type { GateTarget, MeasurementRow, WaveClock } from './store.ts';

/** All that a wave's gates are judged by; read from rows, so that whoever comes next judges the same. */
export interface Standing {
  clock: WaveClock;
  /** By gate, in their order. */
  rows: ReadonlyMap<string, readonly MeasurementRow[]>;
  /** The wave's migrated databases; only read where a gate asks each of them. */
  verified: readonly GateTarget[];
  /** Gates that had nothing to look at are left alone until then. */
  idleUntil: ReadonlyMap<string, Date>;
}

export interface Assessment extends JudgedGate {
  /** Whether it is to be measured now. */
  due: boolean;
  /** Databases that a gate of scope `target` has to ask now. */
  pending: GateTarget[];
}

/** Judges one gate and says what is to be measured. Pure. */
export function assess(gate: Gate, standing: Standing, now: Date): Assessment {
  const assessed = BY_SCOPE[gate.scope](gate, standing, now);
  const stopped = CAUSE_CODES[assessed.judgement.state] !== undefined;
  const told = stopped ? lastTold(assessed.judgement, standing.rows.get(gate.name) ?? []) : undefined;
  return {
    ...assessed,
    due: !stopped && assessed.due,
    ...(told === undefined ? {} : { lastMessage: told.message }),
    ...(told?.tenant ? { first: { tenant: told.tenant.slug, region: told.tenant.region } } : {}),
  };
}

const BY_SCOPE = { wave: assessWave, fleet: assessFleet, target: assessTargets };

/** Begins when the last target has ended, and passes with its last success. */
function assessWave(gate: Gate, standing: Standing, now: Date): Assessment {
  const ended = endOf(standing);
  const startsAt = after(gate, latest(ended, ended && standing.clock.since.get(gate.name)));
  const judgement = judge(gate.rules, standing.rows.get(gate.name) ?? [], {
    ...{ startsAt, now, busy: busyWith(gate, standing) },
  });
  const satisfied = ended === null || judgement.state === 'passed';
  return { gate, ...withDue(judgement, standing, gate, now), satisfied, pending: [] };
}

/** Measures as long as the wave lasts; the wave may pass with a success after its last target. */
function assessFleet(gate: Gate, standing: Standing, now: Date): Assessment {
  const startsAt = after(gate, begin(gate, standing));
  const rows = standing.rows.get(gate.name) ?? [];
  const judgement = judge(gate.rules, rows, { startsAt, now, busy: busyWith(gate, standing) });
  const ended = endOf(standing);
  const since = ended === null ? [] : rows.filter(({ measuredAt }) => measuredAt >= ended);
  const satisfied = ended === null || since.some(({ outcome }) => outcome === 'success');
  const atOnce = ended !== null && since.length === 0 && judgement.nextAt !== null;
  const next = atOnce ? { ...judgement, nextAt: latest(startsAt, ended) } : judgement;
  return {
    gate,
    ...withDue(passedIf(ended !== null && satisfied, next), standing, gate, now),
    satisfied,
    pending: [],
  };
}

/** Each database has to have an answer since it was migrated: a success, or a failure that is borne. */
function assessTargets(gate: Gate, standing: Standing, now: Date): Assessment {
  const watched = isWatched(standing.clock.state);
  const rows = standing.rows.get(gate.name) ?? [];
  const judgement = judge(gate.rules, rows, { startsAt: begin(gate, standing), now });
  const open = unanswered(gate, standing, now);
  const nextAt = open.reduce<Date | null>(
    (first, { at }) => (first === null || at < first ? at : first),
    null,
  );
  const satisfied = !watched || open.length === 0;
  const next = judgement.nextAt === null ? judgement : { ...judgement, nextAt };
  return {
    gate,
    ...withDue(passedIf(watched && satisfied, next), standing, gate, now),
    satisfied,
    pending: open.filter(({ at }) => at <= now).map(({ target }) => target),
  };
}

/** When the measurer was held up by other gates. */
function busyWith(gate: Gate, { rows }: Standing): Span[] {
  const others = [...rows].filter(([name]) => name !== gate.name).flatMap(([, of]) => of.filter(isLong));
  return others.sort((a, b) => a.measuredAt.getTime() - b.measuredAt.getTime());
}

/** Databases without an answer, and when to ask each. While the wave runs, only those that were asked in vain. */
function unanswered(gate: Gate, standing: Standing, now: Date): { target: GateTarget; at: Date }[] {
  const since = standing.clock.since.get(gate.name);
  const byDatabase = new Map<string | null, MeasurementRow[]>();
  for (const row of standing.rows.get(gate.name) ?? []) {
    const known = byDatabase.get(row.databaseId);
    if (known === undefined) byDatabase.set(row.databaseId, [row]);
    else known.push(row);
  }
  return standing.verified.flatMap((target) => {
    const rows = (byDatabase.get(target.databaseId) ?? []).filter(
      ({ measuredAt }) => target.startedAt === null || measuredAt >= target.startedAt,
    );
    const isCounting = (row: MeasurementRow): boolean => since === undefined || row.measuredAt >= since;
    const isAnswer = (row: MeasurementRow): boolean =>
      row.outcome === 'success' || (row.outcome === 'failure' && isCounting(row));
    if (rows.some(isAnswer)) return [];
    const last = rows.filter(isCounting).at(-1);
    if (last === undefined) return isWatched(standing.clock.state) ? [{ target, at: now }] : [];
    return [{ target, at: retryAt(gate.rules, last) }];
  });
}

/** What a reader sees of a gate that has no count: once the wave may pass, it has passed. */
function passedIf(passed: boolean, judgement: Judgement): Judgement {
  return passed && judgement.state === 'measuring' ? { ...judgement, state: 'passed' } : judgement;
}

function withDue(
  judgement: Judgement,
  { idleUntil }: Standing,
  gate: Gate,
  now: Date,
): { judgement: Judgement; due: boolean } {
  if (judgement.nextAt === null) return { judgement, due: false };
  const nextAt = latest(judgement.nextAt, idleUntil.get(gate.name));
  return { judgement: { ...judgement, nextAt }, due: nextAt !== null && nextAt <= now };
}

/** When the wave's targets were through; null while they run, and where none of its databases was migrated. */
function endOf({ clock }: Standing): Date | null {
  return isWatched(clock.state) && clock.hasVerified ? clock.doneAt : null;
}

/** From when on a gate counts that measures while targets run. */
function begin(gate: Gate, { clock }: Standing): Date | null {
  return clock.startedAt === null ? null : latest(clock.startedAt, clock.since.get(gate.name));
}

function after(gate: Gate, instant: Date | null): Date | null {
  return instant === null ? null : new Date(instant.getTime() + gate.delayMs);
}

function latest(...instants: (Date | null | undefined)[]): Date | null {
  const times = instants.flatMap((instant) => (instant ? [instant.getTime()] : []));
  return times.length === 0 ? null : new Date(Math.max(...times));
}

const OUTCOMES = { failed: 'failure', inconclusive: 'inconclusive', error: 'error' } as const;

/** The last measurement of the kind that has stopped the rollout. */
function lastTold({ state }: Judgement, rows: readonly MeasurementRow[]): MeasurementRow | undefined {
  if (state !== 'failed' && state !== 'inconclusive' && state !== 'error') return undefined;
  return rows.findLast(({ outcome }) => outcome === OUTCOMES[state]);
}
