import type { RotationState } from '../../../contract/rotation.ts';
import type { ErrorSummary } from '../../../platform/errors.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { transitionRun, type RunEvent, type RunRecord } from './run.ts';

/** SQL of `rotation_runs`. */

const COLUMNS = `id, state, match, regions, scheduled, now, parallel, per_server AS "perServer", reason, caller,
  request_id AS "requestId", stop, error, created_at AS "createdAt", started_at AS "startedAt",
  finished_at AS "finishedAt"`;

/** Runs that some worker should be carrying, and those that are over while the end of a target is still to be written. */
export const OPEN_RUNS_SQL = `SELECT id::text FROM rotation_runs WHERE state IN ('queued', 'running')
  UNION SELECT x.run_id::text FROM rotation_targets x JOIN operations o ON o.id = x.operation_id
         WHERE x.state = 'running' AND o.finished_at IS NOT NULL`;

export type NewRun = Omit<RunRecord, 'state' | 'stop' | 'error' | 'createdAt' | 'startedAt' | 'finishedAt'>;

/** A second open one of its kind (scheduled or not) that was not asked to stop raises SQLSTATE 23505. */
export async function insertRun(tx: Queryable, run: NewRun): Promise<void> {
  await tx.query(
    `INSERT INTO rotation_runs (id, state, match, regions, scheduled, now, parallel, per_server, reason, caller,
                                request_id)
     VALUES ($1, 'queued', $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [
      run.id,
      JSON.stringify(run.match),
      run.regions,
      run.scheduled,
      run.now,
      run.parallel,
      run.perServer,
      run.reason,
      JSON.stringify(run.caller),
      run.requestId,
    ],
  );
}

export async function findRun(db: Queryable, id: string): Promise<RunRecord | undefined> {
  const { rows } = await db.query<RunRecord>(`SELECT ${COLUMNS} FROM rotation_runs WHERE id = $1`, [id]);
  return rows[0];
}

/** Those that are queued or running; not stopped is at most one that was asked for, and one of the policy. Locked. */
export async function lockOpenRuns(tx: Queryable): Promise<RunRecord[]> {
  const { rows } = await tx.query<RunRecord>(
    `SELECT ${COLUMNS} FROM rotation_runs WHERE state IN ('queued', 'running') ORDER BY id FOR UPDATE`,
  );
  return rows;
}

/** Moves the run; false, and nothing changed, where the event is not allowed or somebody was faster. */
export async function moveRun(
  tx: Queryable,
  run: Pick<RunRecord, 'id' | 'state'>,
  event: RunEvent,
  error: ErrorSummary | null = null,
): Promise<boolean> {
  const next = transitionRun(run.state, event);
  if (next === undefined) return false;
  const { rowCount } = await tx.query(
    `UPDATE rotation_runs
        SET state = $3, error = $4, started_at = coalesce(started_at, now()),
            finished_at = CASE WHEN $3 IN ('succeeded', 'failed', 'cancelled') THEN now() END
      WHERE id = $1 AND state = $2`,
    [run.id, run.state, next, error === null ? null : JSON.stringify(error)],
  );
  return rowCount === 1;
}

/** Its owner reads it before the next step. What has stopped it first counts. */
export async function askToStop(tx: Queryable, id: string, stop: ErrorSummary): Promise<void> {
  await tx.query(
    "UPDATE rotation_runs SET stop = coalesce(stop, $2) WHERE id = $1 AND state IN ('queued', 'running')",
    [id, JSON.stringify(stop)],
  );
}

export interface RunPage {
  state?: RotationState | undefined;
  scheduled?: boolean | undefined;
  /** Only runs that are bound to these regions and no other; null = all. */
  regions: string[] | null;
  limit: number;
  cursor?: { createdAt: string; id: string } | undefined;
}

/** Newest first. */
export async function listRuns(db: Queryable, page: RunPage): Promise<RunRecord[]> {
  const { rows } = await db.query<RunRecord>(
    `SELECT ${COLUMNS} FROM rotation_runs
      WHERE ($1::text IS NULL OR state = $1) AND ($2::boolean IS NULL OR scheduled = $2)
        AND ($3::text[] IS NULL OR regions <@ $3)
        AND ($4::timestamptz IS NULL OR (date_trunc('milliseconds', created_at), id) < ($4, $5::uuid))
      ORDER BY date_trunc('milliseconds', created_at) DESC, id DESC LIMIT $6`,
    [
      page.state ?? null,
      page.scheduled ?? null,
      page.regions,
      page.cursor?.createdAt ?? null,
      page.cursor?.id ?? null,
      page.limit,
    ],
  );
  return rows;
}

/** A year of them shows an auditor that the policy was kept; what each did stands in the audit log. Days. */
const RUNS_KEPT_DAYS = 400;

/** Forgets runs that ended long ago, with their targets. */
export async function forgetOldRuns(db: Queryable): Promise<void> {
  await db.query("DELETE FROM rotation_runs WHERE finished_at < now() - $1 * interval '1 day'", [
    RUNS_KEPT_DAYS,
  ]);
}
