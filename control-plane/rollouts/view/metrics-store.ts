import type { RolloutState } from '../../../contract/rollout.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { ACTIVE_STATES } from '../rollout.ts';

/** What is counted for Prometheus: by the database, and without a name of a tenant. */

export type Counted = Record<string, number>;

/** The rollout that numbers are shown of: the active one, or else the last that was started. */
export interface PresentRollout {
  id: string;
  release: string;
  state: RolloutState;
  /** Seconds since 1970. */
  startedAt: number;
  targets: Counted;
  waves: Counted;
  gates: Counted;
  serversAway: number;
  /** When a target ended last, in seconds since 1970; null before. */
  lastEndedAt: number | null;
}

export async function presentRollout(db: Queryable): Promise<PresentRollout | undefined> {
  const { rows } = await db.query<PresentRollout>(
    `WITH present AS (
       SELECT id, release, state, started_at FROM rollouts WHERE started_at IS NOT NULL
        ORDER BY state = ANY ($1) DESC, started_at DESC LIMIT 1
     )
     SELECT p.id, p.release, p.state, extract(epoch FROM p.started_at)::float8 AS "startedAt",
            (SELECT coalesce(jsonb_object_agg(state, count), '{}') FROM (
               SELECT state, count(*) FROM rollout_targets WHERE rollout_id = p.id GROUP BY state) AS t) AS targets,
            (SELECT coalesce(jsonb_object_agg(state, count), '{}') FROM (
               SELECT state, count(*) FROM rollout_waves WHERE rollout_id = p.id GROUP BY state) AS w) AS waves,
            (SELECT coalesce(jsonb_object_agg(state, count), '{}') FROM (
               SELECT state, count(*) FROM rollout_gates WHERE rollout_id = p.id GROUP BY state) AS g) AS gates,
            (SELECT count(*)::int FROM rollout_outages WHERE rollout_id = p.id) AS "serversAway",
            (SELECT extract(epoch FROM max(finished_at))::float8 FROM rollout_targets
              WHERE rollout_id = p.id AND tries > 0) AS "lastEndedAt"
       FROM present p`,
    [ACTIVE_STATES],
  );
  return rows[0];
}

/** Rollouts that are over, by how they ended. */
export async function countEnded(db: Queryable): Promise<Counted> {
  const { rows } = await db.query<{ state: string; count: number }>(
    'SELECT state, count(*)::int AS count FROM rollouts WHERE finished_at IS NOT NULL GROUP BY state',
  );
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
}

/** How often rollouts were halted, by the code of the cause. */
export async function countHalts(db: Queryable): Promise<Counted> {
  const { rows } = await db.query<{ code: string; count: number }>(
    `SELECT coalesce(cause ->> 'code', 'unknown') AS code, count(*)::int AS count
       FROM rollout_changes WHERE state = 'halted' GROUP BY cause ->> 'code'`,
  );
  return Object.fromEntries(rows.map(({ code, count }) => [code, count]));
}

/** A histogram as Prometheus wants it, but for the sums over its buckets. */
export interface Distribution {
  /** How many were at most `upTo[i]`, and more than the one before; one more at the end for those above all. */
  counts: number[];
  sum: number;
}

/** How long the rollout's migrations took, and waited for locks, in milliseconds; bounds are whole milliseconds. */
export async function migrationTimes(
  db: Queryable,
  rolloutId: string,
  upTo: readonly number[],
): Promise<{ duration: Distribution; lockWait: Distribution }> {
  const { rows } = await db.query<{
    kind: 'duration' | 'lockWait';
    bucket: number;
    count: number;
    sum: number;
  }>(
    // A bucket holds what is equal to its upper bound: one millisecond less is counted among those below it.
    `SELECT v.kind, width_bucket(v.ms - 1, $2::int[]) AS bucket, count(*)::int AS count, sum(v.ms)::float8 AS sum
       FROM rollout_targets t
      CROSS JOIN jsonb_to_recordset(t.applied) AS a ("durationMs" int, "lockWaitMs" int)
      CROSS JOIN LATERAL (VALUES ('duration', a."durationMs"), ('lockWait', a."lockWaitMs")) AS v (kind, ms)
      WHERE t.rollout_id = $1
      GROUP BY v.kind, bucket`,
    [rolloutId, upTo],
  );
  const of = (kind: string): Distribution => {
    const found = rows.filter((row) => row.kind === kind);
    return {
      counts: Array.from(
        { length: upTo.length + 1 },
        (_, at) => found.find((row) => row.bucket === at)?.count ?? 0,
      ),
      sum: found.reduce((total, row) => total + row.sum, 0),
    };
  };
  return { duration: of('duration'), lockWait: of('lockWait') };
}
