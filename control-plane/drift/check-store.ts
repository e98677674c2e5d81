import type { DriftCheck, DriftCheckState, DriftCounts } from '../../contract/drift.ts';
import type { Match } from '../../contract/rollout.ts';
import type { ErrorSummary } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import { transitionCheck, type DriftCheckEvent } from './drift.ts';

/** SQL of `drift_checks`. */
export interface DriftCheckRecord {
  id: string;
  state: DriftCheckState;
  match: Match;
  regions: string[] | null;
  counts: Partial<DriftCounts>;
  unread: (DriftCheck['unread'][number] & { region: string })[];
  error: ErrorSummary | null;
  actor: string;
  createdAt: Date;
  startedAt: Date | null;
  finishedAt: Date | null;
}

/** Checks that some worker should be carrying. */
export const OPEN_CHECKS_SQL = "SELECT id::text FROM drift_checks WHERE state IN ('queued', 'running')";

export async function insertCheck(
  tx: Queryable,
  check: Pick<DriftCheckRecord, 'id' | 'match' | 'regions' | 'actor'>,
): Promise<void> {
  await tx.query(
    `INSERT INTO drift_checks (id, state, match, regions, actor) VALUES ($1, 'queued', $2, $3, $4)`,
    [check.id, JSON.stringify(check.match), check.regions, check.actor],
  );
}

export async function findCheck(db: Queryable, id: string): Promise<DriftCheckRecord | undefined> {
  const { rows } = await db.query<DriftCheckRecord>(
    `SELECT id, state, match, regions, counts, unread, error, actor, created_at AS "createdAt",
            started_at AS "startedAt", finished_at AS "finishedAt"
       FROM drift_checks WHERE id = $1`,
    [id],
  );
  return rows[0];
}

/** Four reports a day say nothing new after a quarter of a year; what differs now is kept with its database. Days. */
const CHECKS_KEPT_DAYS = 90;

/** Forgets checks that ended long ago. */
export async function forgetOldChecks(db: Queryable): Promise<void> {
  await db.query(`DELETE FROM drift_checks WHERE finished_at < now() - $1 * interval '1 day'`, [
    CHECKS_KEPT_DAYS,
  ]);
}

/** Moves the check; false, and nothing changed, where the event is not allowed or somebody was faster. */
export async function moveCheck(
  tx: Queryable,
  check: Pick<DriftCheckRecord, 'id' | 'state'>,
  event: DriftCheckEvent,
  error: ErrorSummary | null = null,
): Promise<boolean> {
  const next = transitionCheck(check.state, event);
  if (next === undefined) return false;
  const { rowCount } = await tx.query(
    `UPDATE drift_checks
        SET state = $3, error = $4, started_at = coalesce(started_at, now()),
            finished_at = CASE WHEN $3 IN ('succeeded', 'failed') THEN now() END
      WHERE id = $1 AND state = $2`,
    [check.id, check.state, next, error === null ? null : JSON.stringify(error)],
  );
  return rowCount === 1;
}

/** Stores how far the check is. */
export async function saveProgress(
  tx: Queryable,
  check: Pick<DriftCheckRecord, 'id' | 'counts' | 'unread'>,
): Promise<void> {
  await tx.query('UPDATE drift_checks SET counts = $2, unread = $3 WHERE id = $1', [
    check.id,
    JSON.stringify(check.counts),
    JSON.stringify(check.unread),
  ]);
}

/**
 * Whether the whole fleet was not looked at for so long; a fleet is first looked at when its oldest database has
 * been there for as long.
 */
export async function isCheckDue(db: Queryable, intervalMs: number): Promise<boolean> {
  const { rows } = await db.query<{ due: boolean }>(
    `SELECT coalesce(greatest(
              (SELECT max(created_at) FROM drift_checks WHERE match = '{}' AND regions IS NULL),
              (SELECT min(created_at) FROM databases WHERE state = 'ready')
            ) < now() - $1 * interval '1 millisecond', false)
            AND EXISTS (SELECT FROM databases WHERE state = 'ready') AS due`,
    [intervalMs],
  );
  return rows[0]?.due === true;
}
