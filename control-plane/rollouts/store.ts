import type { RolloutSpec, RolloutState, WaveState } from '../../contract/rollout.ts';
import type { Queryable } from '../../platform/pg.ts';
import { ADVISORY_LOCKS } from '../registry/locks.ts';
import type { PlannedTarget, PlannedWave, WaveBudget } from './plan.ts';
import {
  ACTIVE_STATES,
  targetSources,
  TERMINAL_STATES,
  transitionRollout,
  transitionWave,
  waveSources,
  type Cause,
  type RolloutEvent,
  type WaveEvent,
} from './rollout.ts';

/** SQL of `rollouts` and `rollout_waves`; the targets are in target-store.ts, the API's lists in view-store.ts. */
export interface RolloutRecord {
  id: string;
  release: string;
  state: RolloutState;
  cause: Cause | null;
  spec: RolloutSpec;
  author: string;
  version: number;
  createdAt: Date;
  startedAt: Date | null;
  finishedAt: Date | null;
}

export interface WaveRecord {
  ordinal: number;
  name: string;
  state: WaveState;
  parallel: number;
  perServer: number;
  budget: WaveBudget;
  bakeSeconds: number;
  bakeUntil: Date | null;
  /** Whether the bake still lasts, by the registry's clock. */
  asleep: boolean;
  startedAt: Date | null;
  finishedAt: Date | null;
}

/** Channel on which every change of a rollout is announced; the payload is its id. */
export const ROLLOUT_CHANNEL = 'fleet_rollouts';

const ROLLOUT_COLUMNS = `r.id, r.release, r.state, r.cause, r.spec, r.author, r.version, r.created_at AS "createdAt",
  r.started_at AS "startedAt", r.finished_at AS "finishedAt"`;
const WAVE_COLUMNS = `w.ordinal, w.name, w.state, w.parallel, w.per_server AS "perServer", w.budget,
  w.bake_seconds AS "bakeSeconds", w.bake_until AS "bakeUntil",
  coalesce(w.bake_until > now(), false) AS asleep, w.started_at AS "startedAt",
  w.finished_at AS "finishedAt"`;

/** Rollouts that some worker should be driving: running and not asleep in a bake, or stopped with work in flight. */
export const OPEN_ROLLOUTS_SQL = `
  SELECT r.id::text FROM rollouts r
   WHERE r.state = 'running'
     AND NOT EXISTS (SELECT 1 FROM rollout_waves w
                      WHERE w.rollout_id = r.id AND w.state = 'baking' AND w.bake_until > now())
  UNION
  SELECT t.rollout_id::text FROM rollout_targets t WHERE t.state IN ('running', 'unknown')`;

/** Stores the plan in state `planned`. */
export async function insertRollout(
  db: Queryable,
  rollout: { id: string; spec: RolloutSpec; author: string; waves: readonly PlannedWave[] },
): Promise<void> {
  const waves = rollout.waves.map(({ targets: _targets, ...wave }, ordinal) => ({ ...wave, ordinal }));
  const targets = rollout.waves.flatMap((wave, number) =>
    wave.targets.map((target) => ({ ...target, wave: number })),
  );
  await db.query(
    `INSERT INTO rollouts (id, release, state, spec, author) VALUES ($1, $2, 'planned', $3, $4)`,
    [rollout.id, rollout.spec.release, JSON.stringify(rollout.spec), rollout.author],
  );
  await db.query(
    `INSERT INTO rollout_waves (rollout_id, ordinal, name, state, parallel, per_server, budget, bake_seconds)
     SELECT $1, ordinal, name, 'pending', parallel, "perServer", budget, "bakeSeconds"
       FROM jsonb_to_recordset($2::jsonb) AS wave(ordinal int, name text, parallel int, "perServer" int,
                                                  budget jsonb, "bakeSeconds" int)`,
    [rollout.id, JSON.stringify(waves)],
  );
  await insertTargets(db, rollout.id, targets);
}

/** Adds targets after those that are there, or brings those that were left out back into the wave. */
export async function insertTargets(
  db: Queryable,
  rolloutId: string,
  targets: readonly (PlannedTarget & { wave: number })[],
): Promise<number> {
  if (targets.length === 0) return 0;
  const { rowCount } = await db.query(
    `INSERT INTO rollout_targets AS t
       (rollout_id, tenant_id, database_id, server_id, wave, ordinal, state, missing, reason)
     SELECT $1, "tenantId", "databaseId", "serverId", wave, last.ordinal + number, state, missing, reason
       FROM ROWS FROM (jsonb_to_recordset($2::jsonb) AS ("tenantId" uuid, "databaseId" uuid, "serverId" uuid,
              wave int, state text, missing jsonb, reason text)) WITH ORDINALITY
              AS target("tenantId", "databaseId", "serverId", wave, state, missing, reason, number),
            (SELECT coalesce(max(ordinal), 0) AS ordinal FROM rollout_targets WHERE rollout_id = $1) AS last
     ON CONFLICT (rollout_id, database_id) DO UPDATE
       SET wave = excluded.wave, ordinal = excluded.ordinal, server_id = excluded.server_id, state = excluded.state,
           missing = excluded.missing, reason = NULL, error = NULL, finished_at = NULL
       WHERE t.state = ANY($3)`,
    [rolloutId, JSON.stringify(targets), targetSources('join')],
  );
  return rowCount ?? 0;
}

export async function findRollout(db: Queryable, id: string): Promise<RolloutRecord | undefined> {
  const { rows } = await db.query<RolloutRecord>(
    `SELECT ${ROLLOUT_COLUMNS} FROM rollouts r WHERE r.id = $1`,
    [id],
  );
  return rows[0];
}

/** The same, locked until the transaction ends: nobody else moves it, and no target is claimed meanwhile. */
export async function lockRollout(db: Queryable, id: string): Promise<RolloutRecord | undefined> {
  const { rows } = await db.query<RolloutRecord>(
    `SELECT ${ROLLOUT_COLUMNS} FROM rollouts r WHERE r.id = $1 FOR UPDATE`,
    [id],
  );
  return rows[0];
}

/** The one rollout that is not over. Locks the line, so that two starts see each other. */
export async function lockActiveRollout(db: Queryable): Promise<RolloutRecord | undefined> {
  await db.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCKS.activeRollout]);
  const { rows } = await db.query<RolloutRecord>(
    `SELECT ${ROLLOUT_COLUMNS} FROM rollouts r WHERE r.state = ANY($1)`,
    [ACTIVE_STATES],
  );
  return rows[0];
}

/**
 * Moves a rollout. Answers false, and changes nothing, where the event is not allowed in the state that it is
 * in, or somebody else has moved it from there.
 */
export async function moveRollout(
  db: Queryable,
  rollout: Pick<RolloutRecord, 'id' | 'state'>,
  event: RolloutEvent,
  cause: Cause | null,
): Promise<boolean> {
  const next = transitionRollout(rollout.state, event);
  if (next === undefined) return false;
  const { rowCount } = await db.query(
    `UPDATE rollouts SET state = $3, cause = $4, version = version + 1,
            started_at = CASE WHEN $5 THEN coalesce(started_at, now()) ELSE started_at END,
            finished_at = CASE WHEN $6 THEN now() END
      WHERE id = $1 AND state = $2`,
    [
      rollout.id,
      rollout.state,
      next,
      cause === null ? null : JSON.stringify(cause),
      next === 'running' || next === 'succeeded',
      TERMINAL_STATES.includes(next),
    ],
  );
  if (rowCount === 0) return false;
  await announce(db, rollout.id);
  return true;
}

/** Tells watchers that the rollout has changed, when the transaction commits. */
export async function announce(db: Queryable, rolloutId: string): Promise<void> {
  await db.query('SELECT pg_notify($1, $2)', [ROLLOUT_CHANNEL, rolloutId]);
}

export async function listWaves(db: Queryable, rolloutId: string): Promise<WaveRecord[]> {
  const { rows } = await db.query<WaveRecord>(
    `SELECT ${WAVE_COLUMNS} FROM rollout_waves w WHERE w.rollout_id = $1 ORDER BY w.ordinal`,
    [rolloutId],
  );
  return rows;
}

/** Moves a wave; the update carries the state that it was read in. `bake` stores the instant of its end. */
export async function moveWave(
  db: Queryable,
  rolloutId: string,
  wave: Pick<WaveRecord, 'ordinal' | 'state'>,
  event: WaveEvent,
): Promise<Date | null> {
  const next = transitionWave(wave.state, event);
  if (next === undefined) return null;
  const { rows } = await db.query<{ bakeUntil: Date | null }>(
    `UPDATE rollout_waves SET state = $4,
            started_at = coalesce(started_at, now()),
            bake_until = CASE WHEN $4 = 'baking' THEN now() + bake_seconds * interval '1 second' ELSE bake_until END,
            finished_at = CASE WHEN $4 IN ('passed', 'failed') THEN now() END
      WHERE rollout_id = $1 AND ordinal = $2 AND state = $3
      RETURNING bake_until AS "bakeUntil"`,
    [rolloutId, wave.ordinal, wave.state, next],
  );
  await announce(db, rolloutId);
  return rows[0]?.bakeUntil ?? null;
}

/** Opens waves again that have targets to run; with `rebake`, they are watched again after it. */
export async function reopenWaves(db: Queryable, rolloutId: string, rebake: boolean): Promise<void> {
  await db.query(
    `UPDATE rollout_waves w
        SET state = 'running', finished_at = NULL, bake_until = CASE WHEN $3 THEN NULL ELSE bake_until END
      WHERE w.rollout_id = $1 AND w.state = ANY($2)
        AND (w.state = 'failed' OR EXISTS (SELECT 1 FROM rollout_targets t
              WHERE t.rollout_id = $1 AND t.wave = w.ordinal AND t.state = 'pending'))`,
    [rolloutId, waveSources('reopen'), rebake],
  );
}
