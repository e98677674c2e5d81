import type {
  Rehearsal,
  RehearsalSummary,
  RehearsalTarget,
  RehearsedMigration,
} from '../../../contract/rehearsal.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { estimateOf } from '../plan/estimate.ts';
import { rehearsalNotFound } from './rehearsal.ts';
import { countOutcomes, emptyCounts, reportOf } from './report.ts';
import { findRehearsal, type RehearsalRecord } from './store.ts';
import {
  listRehearsals,
  listRehearsalTargets,
  type RehearsalRow,
  type RehearsalTargetRow,
} from './view-store.ts';

/**
 * A rehearsal of the rollout, with the targets in `regions`; null means everywhere.
 * @throws FleetError 404 `rehearsal_not_found`
 */
export async function readRehearsal(
  db: Queryable,
  { id, rolloutId }: { id: string; rolloutId: string },
  regions: string[] | null,
): Promise<Rehearsal> {
  const record = await findRehearsal(db, id);
  if (record?.rolloutId !== rolloutId) throw rehearsalNotFound(id);
  const targets = (await listRehearsalTargets(db, id, regions)).map(targetView);
  const { lockTimeoutMs, maxHoldMs, clones } = record;
  const report = reportOf(targets);
  return {
    ...summaryView({ ...record, ...report }, countOutcomes(targets)),
    ...{ lockTimeoutMs, maxHoldMs, clones },
    ...report,
    estimate: await estimateOf(db, rolloutId, regions),
    targets,
  };
}

/** The last one of the rollout, whether it is over or not; null where there is none. */
export async function lastRehearsal(
  db: Queryable,
  rolloutId: string,
  regions: string[] | null,
): Promise<RehearsalSummary | null> {
  const [last] = await listRehearsals(db, { rolloutId, regions, limit: 1 });
  return last === undefined ? null : rowView(last);
}

export function rowView(row: RehearsalRow): RehearsalSummary {
  return summaryView(row, { ...emptyCounts(), ...row.counts });
}

function summaryView(
  record: RehearsalRecord & Pick<RehearsalSummary, 'partly' | 'untried'>,
  counts: RehearsalSummary['counts'],
): RehearsalSummary {
  const { id, rolloutId, release, state, partly, untried, error, actor, reason } = record;
  return {
    ...{ id, rolloutId, release, state, counts, partly, untried, error, actor, reason },
    total: Object.values(counts).reduce((sum, count) => sum + count, 0),
    createdAt: record.createdAt.toISOString(),
    startedAt: record.startedAt?.toISOString() ?? null,
    finishedAt: record.finishedAt?.toISOString() ?? null,
  };
}

const NOTHING_MEASURED = {
  ...{ migrations: [], lockWaitMs: null, heldMs: null, durationMs: null, locks: [], rewrites: [] },
};

/** Where nobody could look, nothing that it lacks was tried. */
function targetView({ measured, missing, finishedAt, ...row }: RehearsalTargetRow): RehearsalTarget {
  const found = { ...NOTHING_MEASURED, ...measured };
  const untried = missing.map((name): RehearsedMigration => {
    return { name, outcome: 'not_rehearsed', durationMs: null, rows: null };
  });
  const migrations =
    row.outcome !== null && row.outcome !== 'passes' && found.migrations.length === 0
      ? untried
      : found.migrations;
  return { ...row, ...found, migrations, finishedAt: finishedAt?.toISOString() ?? null };
}
