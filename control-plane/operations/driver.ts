import type { Queryable } from '../../platform/pg.ts';
import type { Lease } from './lease.ts';

/** A kind of long work that workers carry: operations and rollouts. */
export interface Driver {
  /** First part of the resource's name: `operation` or `rollout`. */
  kind: string;
  /**
   * Carries the resource on until it is over, parked, or the lease's signals say stop. Reads where it stands
   * from the registry each time: a predecessor may have died anywhere.
   */
  drive(id: string, lease: Lease): Promise<void>;
  /** SQL that selects the `id`s of all resources that some worker should be driving now. */
  openIdsSql: string;
}

/** The task's name in the queue. */
export const DRIVE_TASK = 'drive';

/**
 * Wakes a worker for the resource, in the caller's transaction. The queue only wakes: where the job is lost,
 * the sweeper finds the resource by itself. The job key keeps one waiting job per resource.
 */
export async function wake(db: Queryable, kind: string, id: string, runAt?: Date): Promise<void> {
  await db.query(
    `SELECT graphile_worker.add_job($1, json_build_object('kind', $2::text, 'id', $3::text),
                                    job_key => $2 || ':' || $3, run_at => $4, max_attempts => 25)`,
    [DRIVE_TASK, kind, id, runAt ?? null],
  );
}
