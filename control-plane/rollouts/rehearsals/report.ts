import type {
  Rehearsal,
  RehearsalCounts,
  RehearsalGroup,
  RehearsedOn,
  RehearsalTarget,
} from '../../../contract/rehearsal.ts';
import { isStronger } from './rehearsal.ts';

/** What all targets together say. */
export type Report = Pick<
  Rehearsal,
  'failures' | 'gaps' | 'migrations' | 'partly' | 'untried' | 'lockWaitMs' | 'heldMs' | 'tables'
>;

export function reportOf(targets: readonly RehearsalTarget[]): Report {
  const migrations = migrationsOf(targets);
  const inPlace = targets.filter(({ how, outcome }) => how === 'in_place' && outcome !== null);
  return {
    failures: groupTargets(targets.filter(({ outcome }) => outcome === 'fails')),
    gaps: groupTargets(
      targets.filter(({ outcome }) => outcome !== null && outcome !== 'passes' && outcome !== 'fails'),
    ),
    migrations,
    partly: targets.filter(
      ({ outcome, migrations: steps }) =>
        outcome === 'not_rehearsed' && steps.some((step) => step.outcome === 'passed'),
    ).length,
    untried: migrations.filter(({ targets: all, untried }) => all === untried).map(({ name }) => name),
    lockWaitMs: medianAndMax(inPlace.map(({ lockWaitMs }) => lockWaitMs)),
    heldMs: medianAndMax(inPlace.map(({ heldMs }) => heldMs)),
    tables: tablesOf(targets),
  };
}

/** Names are in the order in which migrations run. */
function migrationsOf(targets: readonly RehearsalTarget[]): RehearsedOn[] {
  const all = new Map<string, RehearsedOn>();
  for (const { outcome: of, migrations } of targets) {
    if (of === null || of === 'skipped') continue;
    for (const { name, outcome } of migrations) {
      const on = all.get(name) ?? { name, targets: 0, passed: 0, failed: 0, untried: 0 };
      all.set(name, on);
      on.targets += 1;
      on[outcome === 'not_rehearsed' ? 'untried' : outcome] += 1;
    }
  }
  return [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function countOutcomes(targets: readonly Pick<RehearsalTarget, 'outcome'>[]): RehearsalCounts {
  const counts = emptyCounts();
  for (const { outcome } of targets) counts[outcome ?? 'pending'] += 1;
  return counts;
}

export function emptyCounts(): RehearsalCounts {
  return { pending: 0, passes: 0, fails: 0, not_rehearsed: 0, busy: 0, unreachable: 0, skipped: 0 };
}

/** Those that say the same but for numbers, ids and their own name; the largest group first. */
function groupTargets(targets: readonly RehearsalTarget[]): RehearsalGroup[] {
  const groups = new Map<string, RehearsalGroup>();
  for (const { tenant, outcome, error, reason } of targets) {
    const code = error?.code ?? outcome ?? '';
    const message = error?.message ?? reason ?? code;
    const key = `${code} ${message.replaceAll(tenant, '*').replace(/[0-9a-f]{8,}|\d+/g, '#')}`;
    const group = groups.get(key) ?? {
      ...{ code, message, tenants: [] },
      ...(error?.fix === undefined ? {} : { fix: error.fix }),
    };
    group.tenants.push(tenant);
    groups.set(key, group);
  }
  return [...groups.values()].sort((a, b) => b.tenants.length - a.tenants.length);
}

function medianAndMax(values: readonly (number | null)[]): Report['heldMs'] {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  const [median, max] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted.at(-1)];
  return median === undefined || max === undefined ? null : { median, max };
}

/** The heaviest first: what is written again, then what locks most. */
function tablesOf(targets: readonly RehearsalTarget[]): Report['tables'] {
  const tables = new Map<string, Report['tables'][number]>();
  for (const target of targets) {
    const took = new Map(target.migrations.map(({ name, durationMs }) => [name, durationMs]));
    const seen = new Set<string>();
    const entry = (table: string, migration: string): Report['tables'][number] => {
      const key = `${table} ${migration}`;
      const known = tables.get(key) ?? {
        ...{ table, migration, lock: null, targets: 0, rewritten: 0, maxBytes: 0, maxMs: null },
      };
      tables.set(key, known);
      if (!seen.has(key)) known.targets += 1;
      seen.add(key);
      known.maxMs = larger(known.maxMs, took.get(migration) ?? null);
      return known;
    };
    for (const { table, migration, mode } of target.locks) {
      const known = entry(table, migration);
      if (isStronger(mode, known.lock)) known.lock = mode;
    }
    for (const { table, migration, bytes } of target.rewrites) {
      const known = entry(table, migration);
      known.rewritten += 1;
      known.maxBytes = Math.max(known.maxBytes, bytes);
    }
  }
  return [...tables.values()].sort(
    (a, b) =>
      b.rewritten - a.rewritten ||
      Number(isStronger(b.lock ?? 'AccessShare', a.lock)) -
        Number(isStronger(a.lock ?? 'AccessShare', b.lock)) ||
      a.table.localeCompare(b.table),
  );
}

function larger(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.max(a, b);
}
