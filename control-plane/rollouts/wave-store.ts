import type { Budget, WaveSpec, WaveState } from '../../contract/rollout.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { PlannedWave } from './plan/plan.ts';
import { transitionWave, waveSources, type WaveEvent } from './rollout.ts';
import { announce } from './announce.ts';

/** All SQL of `rollout_waves`. */
export interface WaveRecord {
  ordinal: number;
  name: string;
  state: WaveState;
  parallel: number;
  perServer: number;
  budget: Budget;
  /** Ordinals of the waves that must have passed. */
  dependsOn: number[];
  regions: WaveSpec['regions'];
  gates: string[];
  bakeSeconds: number;
  bakeUntil: Date | null;
  /** When its last target ended. */
  doneAt: Date | null;
  approve: boolean;
  approvedBy: string | null;
  approvedAt: Date | null;
  /** Failures of before count no more. */
  forgivenAt: Date | null;
  /** Who promoted it past the rest of its bake and gates. */
  waivedBy: string | null;
  startedAt: Date | null;
  finishedAt: Date | null;
}

const WAVE_COLUMNS = `w.ordinal, w.name, w.state, w.parallel, w.per_server AS "perServer", w.budget,
  w.depends_on AS "dependsOn", w.regions, w.gates, w.bake_seconds AS "bakeSeconds", w.bake_until AS "bakeUntil",
  w.done_at AS "doneAt", w.approve, w.approved_by AS "approvedBy", w.approved_at AS "approvedAt",
  w.forgiven_at AS "forgivenAt", w.waived_by AS "waivedBy", w.started_at AS "startedAt",
  w.finished_at AS "finishedAt"`;

export async function insertWaves(
  db: Queryable,
  rolloutId: string,
  waves: readonly PlannedWave[],
): Promise<void> {
  const rows = waves.map(({ targets: _targets, ...wave }, ordinal) => ({ ...wave, ordinal }));
  await db.query(
    `INSERT INTO rollout_waves (rollout_id, ordinal, name, state, parallel, per_server, budget, bake_seconds,
                                depends_on, regions, gates, approve)
     SELECT $1, ordinal, name, 'pending', parallel, "perServer", budget, "bakeSeconds",
            ARRAY(SELECT jsonb_array_elements_text("dependsOn")::int), regions,
            ARRAY(SELECT jsonb_array_elements_text(gates)), approve
       FROM jsonb_to_recordset($2::jsonb) AS wave(ordinal int, name text, parallel int, "perServer" int,
              budget jsonb, "bakeSeconds" int, "dependsOn" jsonb, regions text, gates jsonb, approve boolean)`,
    [rolloutId, JSON.stringify(rows)],
  );
}

export async function listWaves(db: Queryable, rolloutId: string): Promise<WaveRecord[]> {
  const { rows } = await db.query<WaveRecord>(
    `SELECT ${WAVE_COLUMNS} FROM rollout_waves w WHERE w.rollout_id = $1 ORDER BY w.ordinal`,
    [rolloutId],
  );
  return rows;
}

/**
 * Moves a wave; the update carries the state that it was read in. `bake` stores the instant of its end. Answers
 * whether it was moved.
 */
export async function moveWave(
  db: Queryable,
  rolloutId: string,
  wave: Pick<WaveRecord, 'ordinal' | 'state'>,
  event: WaveEvent,
): Promise<boolean> {
  const next = transitionWave(wave.state, event);
  if (next === undefined) return false;
  const { rowCount } = await db.query(
    `UPDATE rollout_waves SET state = $4,
            started_at = coalesce(started_at, now()),
            bake_until = CASE WHEN $4 = 'baking' THEN now() + bake_seconds * interval '1 second' ELSE bake_until END,
            done_at = CASE WHEN $4 IN ('pending', 'running') THEN NULL ELSE coalesce(done_at, now()) END,
            finished_at = CASE WHEN $4 IN ('passed', 'failed') THEN now() END
      WHERE rollout_id = $1 AND ordinal = $2 AND state = $3`,
    [rolloutId, wave.ordinal, wave.state, next],
  );
  await announce(db, rolloutId);
  return rowCount === 1;
}

/**
 * Opens waves again that have targets to run, and those that have failed; with `rebake`, they are watched again
 * after it, as if nobody had promoted them.
 */
export async function reopenWaves(db: Queryable, rolloutId: string, rebake: boolean): Promise<void> {
  await db.query(
    `UPDATE rollout_waves w
        SET state = 'running', finished_at = NULL, done_at = NULL,
            bake_until = CASE WHEN $3 THEN NULL ELSE bake_until END,
            waived_by = CASE WHEN $3 THEN NULL ELSE waived_by END
      WHERE w.rollout_id = $1 AND w.state = ANY($2)
        AND (w.state = 'failed' OR EXISTS (SELECT 1 FROM rollout_targets t
              WHERE t.rollout_id = $1 AND t.wave = w.ordinal
                 AND (t.state = 'pending' OR t.state = 'deferred' AND t.not_before IS NOT NULL)))`,
    [rolloutId, waveSources('reopen'), rebake],
  );
}

/** Ends the waves that are open, for an abort: nothing more becomes of them. */
export async function failOpenWaves(db: Queryable, rolloutId: string): Promise<void> {
  await db.query(
    `UPDATE rollout_waves SET state = 'failed', done_at = coalesce(done_at, now()), finished_at = now()
      WHERE rollout_id = $1 AND state = ANY($2)`,
    [rolloutId, waveSources('fail')],
  );
}

/** Ends the bakes that last, with the registry's now. Answers how many. */
export async function endBakes(db: Queryable, rolloutId: string): Promise<number> {
  const { rowCount } = await db.query(
    `UPDATE rollout_waves SET bake_until = now() WHERE rollout_id = $1 AND state = 'baking' AND bake_until > now()`,
    [rolloutId],
  );
  return rowCount ?? 0;
}

/** Passes over the bakes and gates of these waves from here on. */
export async function waiveWaves(
  db: Queryable,
  rolloutId: string,
  ordinals: readonly number[],
  by: string,
): Promise<void> {
  await db.query(
    `UPDATE rollout_waves SET waived_by = $3, bake_until = least(bake_until, now())
      WHERE rollout_id = $1 AND ordinal = ANY($2)`,
    [rolloutId, ordinals, by],
  );
}

/** Failures of these waves until now are borne. */
export async function forgiveWaves(
  db: Queryable,
  rolloutId: string,
  ordinals: readonly number[],
): Promise<void> {
  await db.query(
    'UPDATE rollout_waves SET forgiven_at = clock_timestamp() WHERE rollout_id = $1 AND ordinal = ANY($2)',
    [rolloutId, ordinals],
  );
}

export async function approveWaves(
  db: Queryable,
  rolloutId: string,
  ordinals: readonly number[],
  by: string,
): Promise<void> {
  await db.query(
    `UPDATE rollout_waves SET approved_by = $3, approved_at = now()
      WHERE rollout_id = $1 AND ordinal = ANY($2) AND approved_at IS NULL`,
    [rolloutId, ordinals, by],
  );
}
