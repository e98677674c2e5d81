import type { Rollout, RolloutSummary, RolloutTarget, RolloutWave } from '../../contract/rollout.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { WaveBudget } from './plan.ts';
import { rolloutNotFound } from './rollout.ts';
import { findRollout, listWaves, type RolloutRecord, type WaveRecord } from './store.ts';
import { emptyCounts, type Counts } from './target-store.ts';
import { countsByWave, listTargets, type RolloutRow, type TargetRow } from './view-store.ts';

/** A rollout and its waves, without the single targets: what a watcher follows. */
export type RolloutProgress = RolloutSummary & { waves: RolloutWave[] };

/** @throws FleetError 404 `rollout_not_found` */
export async function readProgress(db: Queryable, id: string): Promise<RolloutProgress> {
  const rollout = await findRollout(db, id);
  if (rollout === undefined) throw rolloutNotFound(id);
  const byWave = await countsByWave(db, id);
  const planned = new Set((rollout.spec.waves ?? []).map((wave) => wave.name));
  const waves = (await listWaves(db, id)).map((wave) =>
    waveView(wave, byWave.get(wave.ordinal) ?? {}, planned),
  );
  return { ...summaryView(rollout, sum(waves.map((wave) => wave.counts))), waves };
}

/** The whole of it. Targets of regions that the reader may not see are counted, but not shown. */
export async function readRollout(db: Queryable, id: string, regions: string[] | null): Promise<Rollout> {
  const progress = await readProgress(db, id);
  const targets = await listTargets(db, id, { regions, limit: null });
  return { ...progress, targets: targets.map(targetView) };
}

export function rowView(row: RolloutRow): RolloutSummary {
  return summaryView(row, fill(row.counts));
}

function summaryView(rollout: RolloutRecord, counts: Counts): RolloutSummary {
  return {
    id: rollout.id,
    release: rollout.release,
    state: rollout.state,
    cause: rollout.cause,
    author: rollout.author,
    total: totalOf(counts),
    counts,
    version: rollout.version,
    createdAt: rollout.createdAt.toISOString(),
    startedAt: instant(rollout.startedAt),
    finishedAt: instant(rollout.finishedAt),
  };
}

function waveView(wave: WaveRecord, found: Partial<Counts>, planned: ReadonlySet<string>): RolloutWave {
  const counts = fill(found);
  return {
    name: wave.name,
    implicit: !planned.has(wave.name),
    state: wave.state,
    parallel: wave.parallel,
    perServer: wave.perServer,
    budget: { failures: budgetView(wave.budget) },
    total: totalOf(counts),
    counts,
    bakeUntil: instant(wave.bakeUntil),
    startedAt: instant(wave.startedAt),
    finishedAt: instant(wave.finishedAt),
  };
}

export function targetView(row: TargetRow): RolloutTarget {
  const { waveOrdinal: _wave, ordinal: _ordinal, startedAt, finishedAt, ...target } = row;
  return { ...target, startedAt: instant(startedAt), finishedAt: instant(finishedAt) };
}

function budgetView(budget: WaveBudget): number | string {
  return budget.percent === null ? (budget.failures ?? 0) : `${budget.percent}%`;
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
