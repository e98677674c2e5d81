import { durationSeconds } from '../../../contract/duration.ts';
import type { RolloutSpec } from '../../../contract/rollout.ts';
import type { Lease } from '../../operations/lease.ts';
import { announce } from '../announce.ts';
import type { WaveGates, Verdict } from '../engine/gating.ts';
import type { WaveRecord } from '../wave-store.ts';
import { assess, type Standing } from './assess.ts';
import { gatesOf, GO, isWatched, type Gate } from './gate.ts';
import { verdictOf } from './judge.ts';
import { measureGate } from './measure.ts';
import type { SourceDeps, Subject } from './source.ts';
import {
  canaryTargets,
  gateTargets,
  insertMeasurements,
  readWaveClock,
  waveMeasurements,
  writeJudgements,
  type GateTarget,
  type MeasurementRow,
  type NewMeasurement,
} from './store.ts';

interface Run {
  deps: SourceDeps;
  rolloutId: string;
  lease: Lease;
  wave: Pick<WaveRecord, 'ordinal' | 'name'>;
  gates: Gate[];
  /** Read at the first use; only the holder of the lease adds to it, so that memory may lead from then on. */
  rows: Map<string, MeasurementRow[]> | undefined;
  idleUntil: Map<string, Date>;
  canaries: { readAt: number; targets: Promise<GateTarget[]> } | undefined;
}

/** The first verified databases are read again after this time, in milliseconds, not for each of 5,000 targets. */
const CANARIES_MS = 1_000;

/**
 * The gates of a wave, in the hands of the holder of the rollout's lease; undefined where it has none. All writes are
 * fenced, and both calls throw LeaseLostError. They serve from the wave's start to its end, since what is asked when is
 * read from the wave's row; one of them at a time, since they remember what was measured.
 *
 * `afterTarget` may be called for several targets at once. What it could not find out is asked again by `measure`:
 * `go` of a wave that is `baking` or `gating` means that every gate is satisfied, before that to carry on.
 */
export function openGates(
  deps: SourceDeps,
  owner: { rolloutId: string; spec: RolloutSpec; lease: Lease },
  wave: Pick<WaveRecord, 'ordinal' | 'name' | 'bakeSeconds'>,
): WaveGates | undefined {
  const { rolloutId, spec, lease } = owner;
  const gates = gatesOf(spec, wave);
  if (gates.length === 0) return undefined;
  const place = { ordinal: wave.ordinal, name: wave.name };
  const run: Run = {
    ...{ deps, rolloutId, lease, wave: place, gates },
    ...{ rows: undefined, idleUntil: new Map(), canaries: undefined },
  };
  return {
    afterTarget: (target) => afterTarget(run, target.databaseId),
    measure: (now) => measure(run, now),
  };
}

/**
 * How things stand at this moment. Who is verified without an answer is only of use to `measure`, and not looked up
 * for each of a wave's targets.
 */
async function look(
  run: Run,
  { everyTarget }: { everyTarget: boolean },
): Promise<Standing & { rows: Map<string, MeasurementRow[]> }> {
  const { registry } = run.deps;
  const { rolloutId, idleUntil, wave } = run;
  const asksEach = everyTarget && run.gates.some(({ scope }) => scope === 'target');
  const states = ['verified'] as const;
  const [clock, verified, rows] = await Promise.all([
    readWaveClock(registry, rolloutId, wave.ordinal),
    asksEach ? gateTargets(registry, rolloutId, { states, wave: wave.ordinal }) : [],
    run.rows ?? waveMeasurements(registry, rolloutId, wave.ordinal).then(byGate),
  ]);
  // Somebody else may have read them meanwhile, and added to them.
  run.rows ??= rows;
  return { clock, verified, rows: run.rows, idleUntil };
}

function canariesOf(run: Run): Promise<GateTarget[]> {
  const now = performance.now();
  if (run.canaries === undefined || now - run.canaries.readAt >= CANARIES_MS) {
    run.canaries = { readAt: now, targets: canaryTargets(run.deps.registry, run.rolloutId) };
  }
  return run.canaries.targets;
}

function byGate(rows: readonly MeasurementRow[]): Map<string, MeasurementRow[]> {
  const gates = new Map<string, MeasurementRow[]>();
  for (const row of rows) {
    const known = gates.get(row.gate);
    if (known === undefined) gates.set(row.gate, [row]);
    else known.push(row);
  }
  return gates;
}

async function afterTarget(run: Run, databaseId: string): Promise<Verdict> {
  const { registry } = run.deps;
  const gates = run.gates.filter(({ scope }) => scope === 'target');
  if (gates.length === 0) return GO;
  const [[target], canaries, around] = await Promise.all([
    gateTargets(registry, run.rolloutId, { states: null, databaseId }),
    canariesOf(run),
    look(run, { everyTarget: false }),
  ]);
  // Deleted meanwhile: nothing is left that could be bad.
  if (target === undefined) return GO;
  // Whether it has to be asked again, and when, is of this one.
  const standing = { ...around, verified: [target] };
  const { now } = standing.clock;
  const startedAt = performance.now();
  const measurements = await Promise.all(
    gates.map((gate) => measureTarget(run, gate, target, { canaries, now })),
  );
  const verdict = await record(run, standing, { gates, measurements: measurements.flat(), now, startedAt });
  return verdict.state === 'wait' ? { ...verdict, state: 'go' } : verdict;
}

async function measureTarget(
  run: Run,
  gate: Gate,
  target: GateTarget,
  { canaries, now }: { canaries: GateTarget[]; now: Date },
): Promise<Omit<NewMeasurement, 'tookMs'>[]> {
  const { databaseId, tenant, startedAt: before } = target;
  const targets = [target];
  const subject = { targets, touched: targets, canaries, before, now, signal: run.lease.signal };
  const reading = await measureGate(run.deps, gate, subject);
  return reading === undefined ? [] : [{ ...reading, gate, databaseId, tenant, measuredAt: now }];
}

async function measure(run: Run, now: Date): Promise<Verdict> {
  const standing = await look(run, { everyTarget: true });
  const due = run.gates.map((gate) => assess(gate, standing, now)).filter((assessment) => assessment.due);
  const canaries = due.length === 0 ? [] : await canariesOf(run);
  const around = { standing, canaries, now };
  const startedAt = performance.now();
  const measurements = await Promise.all(
    due.flatMap(({ gate, pending }) =>
      gate.scope === 'target'
        ? pending.map((target) => measureTarget(run, gate, target, around))
        : [measureMany(run, gate, around)],
    ),
  );
  return record(run, standing, { gates: run.gates, measurements: measurements.flat(), now, startedAt });
}

/** States of targets on which something was begun. */
const TOUCHED = ['running', 'verified', 'failed', 'unknown'] as const;

async function measureMany(
  run: Run,
  gate: Gate,
  { standing, canaries, now }: { standing: Standing; canaries: GateTarget[]; now: Date },
): Promise<Omit<NewMeasurement, 'tookMs'>[]> {
  const { clock } = standing;
  const wave = gate.scope === 'wave' ? run.wave.ordinal : undefined;
  const touched = await gateTargets(run.deps.registry, run.rolloutId, { states: TOUCHED, wave });
  const verified = touched.filter(({ state }) => state === 'verified');
  const subject: Subject = {
    targets: isWatched(clock.state) ? verified : verified.filter((target) => isSettled(gate, target, now)),
    touched,
    canaries,
    before: gate.scope === 'wave' ? clock.startedAt : clock.rolloutStartedAt,
    now,
    signal: run.lease.signal,
  };
  const reading = await measureGate(run.deps, gate, subject);
  if (reading !== undefined) return [{ ...reading, gate, measuredAt: now }];
  run.idleUntil.set(gate.name, new Date(now.getTime() + gate.rules.intervalMs));
  return [];
}

/**
 * While targets go on ending, traffic is looked at of those alone that have been migrated for the whole time that is
 * looked back on: "since the last was migrated" would be a moment, and never hold enough requests.
 */
function isSettled(gate: Gate, target: GateTarget, now: Date): boolean {
  if (!('metric' in gate.spec)) return true;
  const overMs = durationSeconds(gate.spec.over) * 1_000;
  return target.finishedAt !== null && target.finishedAt.getTime() + overMs <= now.getTime();
}

/** Keeps the measurements and how the gates stand by them, and answers the verdict over `gates`. */
async function record(
  run: Run,
  standing: Standing & { rows: Map<string, MeasurementRow[]> },
  {
    gates,
    measurements: made,
    now,
    startedAt,
  }: {
    gates: readonly Gate[];
    measurements: readonly Omit<NewMeasurement, 'tookMs'>[];
    now: Date;
    /** By `performance.now`. */
    startedAt: number;
  },
): Promise<Verdict> {
  const { rolloutId, wave } = run;
  // What was asked together has held up the measurer until the last has answered.
  const tookMs = Math.round(performance.now() - startedAt);
  const measurements = made.map((measurement) => ({ ...measurement, tookMs }));
  for (const measurement of measurements) remember(standing.rows, measurement);
  const judged = gates.map((gate) => assess(gate, standing, now));
  const verdict = verdictOf({ id: rolloutId, wave: wave.name }, judged);
  if (measurements.length > 0 || verdict.cause !== undefined) {
    const place = { rolloutId, wave: wave.ordinal };
    const judgements = judged.map(({ gate, judgement }) => ({ gate: gate.name, judgement }));
    await run.lease.transaction(async (tx) => {
      if (measurements.length > 0) await insertMeasurements(tx, place, measurements);
      await writeJudgements(tx, place, judgements);
      await announce(tx, rolloutId);
    });
  }
  return verdict;
}

/** Targets that are asked side by side may answer in another order than they were asked in. */
function remember(rows: Map<string, MeasurementRow[]>, measurement: NewMeasurement): void {
  const { gate, databaseId, tenant, ...rest } = measurement;
  const known = rows.get(gate.name) ?? [];
  rows.set(gate.name, known);
  const row = { ...rest, gate: gate.name, databaseId: databaseId ?? null, tenant: tenant ?? null };
  const place = known.findLastIndex(({ measuredAt }) => measuredAt <= row.measuredAt) + 1;
  known.splice(place, 0, row);
}
