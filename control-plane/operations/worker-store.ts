import type { Queryable } from '../../platform/pg.ts';
import type { Driver } from './driver.ts';

export interface WorkerRow {
  id: string;
  /** Key of the advisory lock that proves its life, as a decimal text of 64 bits. */
  key: string;
  host: string;
  pid: number;
  queueIds: string[];
}

/** Tells that the worker lives, and under which names it takes jobs. */
export async function insertWorker(db: Queryable, worker: WorkerRow): Promise<void> {
  await db.query(
    `INSERT INTO workers (id, lock_key, host, pid, queue_ids) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (id) DO UPDATE SET queue_ids = excluded.queue_ids`,
    [worker.id, worker.key, worker.host, worker.pid, worker.queueIds],
  );
}

/** The worker has stopped, or was found dead. Harmless when it is gone. */
export async function removeWorker(db: Queryable, id: string): Promise<void> {
  await db.query('DELETE FROM workers WHERE id = $1', [id]);
}

/**
 * Removes the rows of workers whose advisory lock is free, and frees their leases; answers the names under
 * which they held jobs. A worker wrongly taken for dead is fenced by its next write.
 */
export async function forgetDeadWorkers(
  db: Queryable,
  self: string,
): Promise<{ workers: number; queueIds: string[] }> {
  const { rows } = await db.query<{ queue_ids: string[] }>(
    `WITH dead AS (DELETE FROM workers WHERE id <> $1 AND NOT worker_is_alive(id) RETURNING id, queue_ids),
     freed AS (UPDATE leases SET holder = NULL, expires_at = NULL FROM dead WHERE holder = dead.id)
     SELECT queue_ids FROM dead`,
    [self],
  );
  return { workers: rows.length, queueIds: rows.flatMap((row) => row.queue_ids) };
}

/** Open resources of a kind that no live worker holds and for which no job waits in the queue. */
export async function openWithoutOwner(db: Queryable, driver: Driver): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `SELECT open.id FROM (${driver.openIdsSql}) AS open
       LEFT JOIN leases l ON l.resource = $1 || ':' || open.id
      WHERE (l.holder IS NULL OR l.expires_at < now() OR NOT worker_is_alive(l.holder))
        AND NOT EXISTS (SELECT 1 FROM graphile_worker.jobs j
                         WHERE j.key = $1 || ':' || open.id AND j.locked_at IS NULL AND j.run_at <= now())`,
    [driver.kind],
  );
  return rows.map((row) => row.id);
}

/**
 * Frees the jobs that dead workers held (the queue's own time-out is four hours) and removes those that were
 * replaced meanwhile: a replaced job has lost its key and its tries, and would lie in the table for ever.
 */
export async function releaseJobs(db: Queryable, queueIds: string[]): Promise<void> {
  await db.query('SELECT graphile_worker.force_unlock_workers($1::text[])', [queueIds]);
  await db.query(
    `SELECT graphile_worker.complete_jobs(array_agg(id)) FROM graphile_worker.jobs
      WHERE key IS NULL AND locked_at IS NULL AND attempts >= max_attempts HAVING count(*) > 0`,
  );
}
