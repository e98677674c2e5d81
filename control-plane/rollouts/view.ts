import type { Rollout, RolloutSummary, RolloutTarget, RolloutWave } from '../../contract/rollout.ts';
import type { Queryable } from '../../platform/pg.ts';
import { causeView } from './cause.ts';
import type { WaveBudget } from './plan.ts';
import { rolloutNotFound } from './rollout.ts';
import { findRollout, listWaves, type RolloutRecord, type WaveRecord } from './store.ts';
import { emptyCounts, type Counts } from './target-store.ts';
import { countsByWave, listTargets, type RolloutRow, type TargetRow } from './view-store.ts';

/** A rollout and its waves, without the single targets: what a watcher follows. */
export type RolloutProgress = RolloutSummary & { waves: RolloutWave[] };

/**
 * Counts and names only what is in `regions`; null means everywhere.
 * @throws FleetError 404 `rollout_not_found`
 */
export async function readProgress(
  db: Queryable,
  id: string,
  regions: string[] | null,
): Promise<RolloutProgress> {
  const rollout = await findRollout(db, id);
  if (rollout === undefined) throw rolloutNotFound(id);
  const byWave = await countsByWave(db, id, regions);
  const planned = new Set((rollout.spec.waves ?? []).map((wave) => wave.name));
  const waves = (await listWaves(db, id)).map((wave) =>
    waveView(wave, byWave.get(wave.ordinal) ?? {}, planned),
  );
  return { ...summaryView(rollout, sum(waves.map((wave) => wave.counts)), regions), waves };
}

/** The whole of it, as far as the reader may see it. */
export async function readRollout(db: Queryable, id: string, regions: string[] | null): Promise<Rollout> {
  const progress = await readProgress(db, id, regions);
  const targets = await listTargets(db, id, { regions, limit: null });
  return { ...progress, targets: targets.map(targetView) };
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

/** A target as the API shows it. */
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
