import type { Estimate } from '../../../contract/rehearsal.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { historyOf, leftTargets, type LeftTarget } from './estimate-store.ts';
import { simulateWaves } from './simulate.ts';
import { listWaves, type WaveRecord } from '../wave-store.ts';

/**
 * What a visit takes beside its migrations, in milliseconds: connecting, the lock and the proof (13.5 ms with a
 * single small migration, measured on one server).
 */
const VISIT_MS = 13;

/**
 * How long what is left of a rollout will take: its waves played through with what their migrations took on the same
 * database in the last rehearsal of the release; else, by the median, on other targets of it; else in earlier
 * rollouts. Null where nobody has measured any of them, or nothing is left.
 * @param regions whose targets count; null means all
 */
export async function estimateOf(
  db: Queryable,
  rolloutId: string,
  regions: string[] | null = null,
): Promise<Estimate | null> {
  const left = await leftTargets(db, rolloutId, regions);
  if (left.length === 0) return null;
  const rehearsed = medians(left);
  const names = [...new Set(left.flatMap(({ missing }) => missing))];
  const others = names.filter((name) => !rehearsed.has(name));
  const history = others.length === 0 ? new Map<string, number>() : await historyOf(db, others);
  if (rehearsed.size + history.size === 0) return null;
  const waves = await listWaves(db, rolloutId);
  const now = new Date();
  const ends = simulateWaves(
    waves.map((wave) => ({
      parallel: wave.parallel,
      perServer: wave.perServer,
      dependsOn: wave.dependsOn,
      bakeMs: bakeMs(wave, now),
      targets: left
        .filter((target) => target.wave === wave.ordinal)
        .map((target) => ({ serverId: target.serverId, durationMs: durationOf(target, rehearsed, history) })),
    })),
  );
  return {
    seconds: seconds(Math.max(0, ...ends)),
    basis: rehearsed.size > 0 ? 'rehearsal' : 'history',
    perWave: waves.map(({ name, dependsOn, ordinal }) => {
      const begin = Math.max(0, ...dependsOn.map((index) => ends[index] ?? 0));
      return { wave: name, seconds: seconds((ends[ordinal] ?? 0) - begin) };
    }),
    unmeasured: others.filter((name) => !history.has(name)),
  };
}

/** By migration, over all targets that were rehearsed. */
function medians(left: readonly LeftTarget[]): Map<string, number> {
  const all = new Map<string, number[]>();
  for (const { name, durationMs } of left.flatMap(({ rehearsed }) => rehearsed)) {
    const values = all.get(name) ?? [];
    all.set(name, values);
    values.push(durationMs);
  }
  return new Map([...all].map(([name, values]) => [name, middleOf(values)]));
}

function middleOf(values: number[]): number {
  const sorted = values.sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}

function durationOf(
  { missing, rehearsed }: LeftTarget,
  elsewhere: ReadonlyMap<string, number>,
  history: ReadonlyMap<string, number>,
): number {
  const own = new Map(rehearsed.map(({ name, durationMs }) => [name, durationMs]));
  return missing.reduce(
    (sum, name) => sum + (own.get(name) ?? elsewhere.get(name) ?? history.get(name) ?? 0),
    VISIT_MS,
  );
}

/** What is left of the time in which the wave is watched. */
function bakeMs(wave: WaveRecord, now: Date): number {
  if (wave.state === 'pending' || wave.state === 'running') return wave.bakeSeconds * 1_000;
  return wave.state === 'baking' ? Math.max(0, (wave.bakeUntil?.getTime() ?? 0) - now.getTime()) : 0;
}

/** To a tenth. */
function seconds(ms: number): number {
  return Math.round(ms / 100) / 10;
}
