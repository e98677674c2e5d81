import type { GateStatus } from '../../../contract/gate.ts';
import type { RolloutOverview, RolloutStanding } from '../../../contract/progress.ts';
import type { Rollout, RolloutSummary, RolloutTarget, RolloutWave } from '../../../contract/rollout.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { blockersIn } from '../../apps/contract.ts';
import { causeView } from '../cause.ts';
import { blockersOf } from '../plan/contract.ts';
import { gateStatuses } from '../gates/view.ts';
import { planOf } from '../plan/plan-view.ts';
import { estimateOf } from '../plan/estimate.ts';
import { lastRehearsal } from '../rehearsals/view.ts';
import { rolloutNotFound } from '../rollout.ts';
import { findRollout, type RolloutRecord } from '../store.ts';
import { emptyCounts, type Counts } from '../target-store.ts';
import { listWaves, type WaveRecord } from '../wave-store.ts';
import { countsByWave, listTargets, type RolloutRow, type TargetRow } from './view-store.ts';

/**
 * A rollout and its waves, without the single targets. Counts and names only what is in `regions`; null means
 * everywhere.
 * @throws FleetError 404 `rollout_not_found`
 */
export async function readOverview(
  db: Queryable,
  id: string,
  regions: string[] | null,
): Promise<RolloutOverview> {
  const rollout = await findRollout(db, id);
  if (rollout === undefined) throw rolloutNotFound(id);
  const byWave = await countsByWave(db, id, regions);
  const planned = new Set((rollout.spec.waves ?? []).map((wave) => wave.name));
  const records = await listWaves(db, id);
  const names = records.map((wave) => wave.name);
  const gates = await gateStatuses(db, rollout, records, regions);
  const waves = records.map((wave) =>
    waveView(wave, byWave.get(wave.ordinal) ?? {}, { planned, names, gates: gates.get(wave.ordinal) ?? [] }),
  );
  return { ...summaryView(rollout, sum(waves.map((wave) => wave.counts)), regions), waves };
}

/** How it stands after somebody's word to it, as far as the reader may see it. */
export async function readStanding(
  db: Queryable,
  id: string,
  regions: string[] | null,
): Promise<RolloutStanding> {
  const overview = await readOverview(db, id, regions);
  return { ...overview, rehearsal: await lastRehearsal(db, id, regions) };
}

/** The whole of it, as far as the reader may see it. */
export async function readRollout(db: Queryable, id: string, regions: string[] | null): Promise<Rollout> {
  const overview = await readOverview(db, id, regions);
  const targets = await listTargets(db, id, { regions, limit: null });
  const blockers =
    overview.finishedAt === null
      ? await blockersOf(db, { id, release: overview.release, undoOf: overview.undoOf ?? null })
      : undefined;
  const plan = await planOf(db, id, regions);
  return {
    ...overview,
    estimate: overview.finishedAt === null ? await estimateOf(db, id, regions) : null,
    rehearsal: await lastRehearsal(db, id, regions),
    ...(blockers === undefined ? {} : { contract: blockersIn(blockers, regions) }),
    ...(plan === undefined ? {} : { plan }),
    targets: targets.map(targetView),
  };
}

/** `row` has been counted for the same regions. */
export function rowView(row: RolloutRow, regions: string[] | null): RolloutSummary {
  return summaryView(row, fill(row.counts), regions);
}

function summaryView(rollout: RolloutRecord, counts: Counts, regions: string[] | null): RolloutSummary {
  return {
    id: rollout.id,
    release: rollout.release,
    state: rollout.state,
    cause: causeView(rollout.cause, regions),
    author: rollout.author,
    approve: rollout.spec.approve,
    approvedBy: rollout.approvedBy,
    approvedAt: instant(rollout.approvedAt),
    queuedAt: instant(rollout.queuedAt),
    supersededBy: rollout.supersededBy,
    ...(rollout.undoOf === null ? {} : { undoOf: rollout.undoOf }),
    total: totalOf(counts),
    counts,
    version: rollout.version,
    createdAt: rollout.createdAt.toISOString(),
    startedAt: instant(rollout.startedAt),
    finishedAt: instant(rollout.finishedAt),
  };
}

function waveView(
  wave: WaveRecord,
  found: Partial<Counts>,
  { planned, names, gates }: { planned: ReadonlySet<string>; names: readonly string[]; gates: GateStatus[] },
): RolloutWave {
  const counts = fill(found);
  return {
    name: wave.name,
    implicit: !planned.has(wave.name),
    state: wave.state,
    parallel: wave.parallel,
    perServer: wave.perServer,
    budget: wave.budget,
    dependsOn: wave.dependsOn.map((ordinal) => names[ordinal] ?? ''),
    regions: wave.regions,
    gates,
    bakeSeconds: wave.bakeSeconds,
    approve: wave.approve,
    approvedBy: wave.approvedBy,
    approvedAt: instant(wave.approvedAt),
    waivedBy: wave.waivedBy,
    total: totalOf(counts),
    counts,
    bakeUntil: instant(wave.bakeUntil),
    startedAt: instant(wave.startedAt),
    finishedAt: instant(wave.finishedAt),
  };
}

/** A target as the API shows it. */
export function targetView(row: TargetRow): RolloutTarget {
  const { waveOrdinal: _wave, ordinal: _ordinal, notBefore, startedAt, finishedAt, ...target } = row;
  return {
    ...target,
    notBefore: instant(notBefore),
    startedAt: instant(startedAt),
    finishedAt: instant(finishedAt),
  };
}

function fill(found: Partial<Counts>): Counts {
  return { ...emptyCounts(), ...found };
}

function sum(all: readonly Counts[]): Counts {
  const total = emptyCounts();
  for (const counts of all) {
    for (const state of Object.keys(total) as (keyof Counts)[]) total[state] += counts[state];
  }
  return total;
}

function totalOf(counts: Counts): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

function instant(date: Date | null): string | null {
  return date === null ? null : date.toISOString();
}
