import type { RolloutSpec, RolloutState } from '../../contract/rollout.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { Caller } from '../access/caller.ts';
import { ADVISORY_LOCKS } from '../registry/locks.ts';
import type { PlannedWave } from './plan/plan.ts';
import {
  ACTIVE_STATES,
  TERMINAL_STATES,
  transitionRollout,
  type Cause,
  type RolloutEvent,
} from './rollout.ts';
import { announce } from './announce.ts';
import type { StoredCause } from './cause.ts';
import { insertTargets } from './target-store.ts';
import { insertWaves } from './wave-store.ts';

/** SQL of `rollouts`; waves and targets are in wave-store.ts and target-store.ts, the API's lists in view-store.ts. */
export interface RolloutRecord {
  id: string;
  release: string;
  state: RolloutState;
  cause: StoredCause | null;
  spec: RolloutSpec;
  author: string;
  /** Null for those of before it was kept. */
  authorId: string | null;
  approvedBy: string | null;
  approvedAt: Date | null;
  /** Failures of before count no more. */
  forgivenAt: Date | null;
  /** Since when running statements are cancelled as well. */
  forcedAt: Date | null;
  queuedAt: Date | null;
  /** Who is to start it when its turn comes. */
  queuedBy: Caller | null;
  /** Its turn starts it although a rehearsal has failed. */
  queuedDespiteRehearsal: boolean;
  supersededBy: string | null;
  /** Given for an undo: the rollout that it takes back. */
  undoOf: string | null;
  version: number;
  createdAt: Date;
  startedAt: Date | null;
  finishedAt: Date | null;
  /** The registry's clock, at the reading: the only one that decides. */
  now: Date;
}

export const ROLLOUT_COLUMNS = `r.id, r.release, r.state, r.cause, r.spec, r.author, r.author_id AS "authorId",
  r.approved_by AS "approvedBy", r.approved_at AS "approvedAt", r.forgiven_at AS "forgivenAt",
  r.forced_at AS "forcedAt", r.queued_at AS "queuedAt", r.queued_by AS "queuedBy",
  r.queued_despite_rehearsal AS "queuedDespiteRehearsal", r.superseded_by AS "supersededBy",
  r.undo_of AS "undoOf",
  r.version, r.created_at AS "createdAt", r.started_at AS "startedAt", r.finished_at AS "finishedAt",
  clock_timestamp() AS now`;

/**
 * Rollouts that some worker should be driving: running or paused (gates go on) and not asleep until an instant,
 * stopped with work in flight, or the first in the queue when none is active.
 */
export const OPEN_ROLLOUTS_SQL = `
  SELECT r.id::text FROM rollouts r
   WHERE r.state IN ('running', 'paused') AND (r.wake_at IS NULL OR r.wake_at <= now())
  UNION
  SELECT t.rollout_id::text FROM rollout_targets t WHERE t.state IN ('running', 'unknown')
  UNION
  (SELECT q.id::text FROM rollouts q
    WHERE q.queued_at IS NOT NULL AND q.state = 'planned' AND (q.wake_at IS NULL OR q.wake_at <= now())
      AND NOT EXISTS (SELECT 1 FROM rollouts a WHERE a.state IN (${ACTIVE_STATES.map((state) => `'${state}'`).join(', ')}))
    ORDER BY q.queued_at LIMIT 1)`;

/** Stores the plan in state `planned`. */
export async function insertRollout(
  db: Queryable,
  rollout: {
    id: string;
    spec: RolloutSpec;
    author: Caller;
    waves: readonly PlannedWave[];
    /** Chain over the migrations of the release, as they are planned for. */
    releaseChecksum: string;
  },
): Promise<void> {
  await db.query(
    `INSERT INTO rollouts (id, release, state, spec, author, author_id, release_checksum)
     VALUES ($1, $2, 'planned', $3, $4, $5, $6)`,
    [
      rollout.id,
      rollout.spec.release,
      JSON.stringify(rollout.spec),
      rollout.author.name,
      rollout.author.principalId,
      rollout.releaseChecksum,
    ],
  );
  await insertWaves(db, rollout.id, rollout.waves);
  await insertTargets(
    db,
    rollout.id,
    rollout.waves.flatMap((wave, number) => wave.targets.map((target) => ({ ...target, wave: number }))),
  );
}

/** What the release was when it was planned; null for plans of before that was kept. */
export async function plannedChecksum(db: Queryable, id: string): Promise<string | null> {
  const { rows } = await db.query<{ checksum: string | null }>(
    'SELECT release_checksum AS checksum FROM rollouts WHERE id = $1',
    [id],
  );
  return rows[0]?.checksum ?? null;
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
  return findActiveRollout(db);
}

/** The same, to be told of only. */
export async function findActiveRollout(db: Queryable): Promise<RolloutRecord | undefined> {
  const { rows } = await db.query<RolloutRecord>(
    `SELECT ${ROLLOUT_COLUMNS} FROM rollouts r WHERE r.state = ANY($1)`,
    [ACTIVE_STATES],
  );
  return rows[0];
}

/**
 * The rollout that was started last, if it was aborted in the middle and nothing has taken its place: some databases
 * have its release, others do not.
 */
export async function findAbandoned(db: Queryable): Promise<RolloutRecord | undefined> {
  const { rows } = await db.query<RolloutRecord & { halfway: boolean }>(
    `SELECT ${ROLLOUT_COLUMNS},
            EXISTS (SELECT 1 FROM rollout_targets t WHERE t.rollout_id = r.id AND t.state = 'verified')
            AND EXISTS (SELECT 1 FROM rollout_targets t WHERE t.rollout_id = r.id AND t.skipped_by IS NULL
                         AND (t.state IN ('failed', 'unreachable') OR t.state = 'skipped' AND t.reason = 'aborted'))
            AS halfway
       FROM rollouts r WHERE r.started_at IS NOT NULL ORDER BY r.started_at DESC LIMIT 1`,
  );
  const [last] = rows;
  return last?.state === 'aborted' && last.supersededBy === null && last.halfway ? last : undefined;
}

/**
 * Moves a rollout. Answers false, and changes nothing, where the event is not allowed in the state that it is
 * in, or somebody else has moved it from there.
 */
export async function moveRollout(
  db: Queryable,
  rollout: Pick<RolloutRecord, 'id' | 'state'>,
  event: RolloutEvent,
  cause: StoredCause | null,
): Promise<boolean> {
  const next = transitionRollout(rollout.state, event);
  if (next === undefined) return false;
  const { rowCount } = await db.query(
    `UPDATE rollouts SET state = $3, cause = $4, version = version + 1, wake_at = NULL, queued_at = NULL,
            queued_by = NULL,
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

/**
 * Remembers when the engine has something to do again (null: not before somebody speaks); until then no worker is
 * woken for the rollout. Answers false where it has changed since it was read: then there is something to do now.
 * One that is over has nothing to wake for.
 */
export async function sleepUntil(
  db: Queryable,
  rollout: Pick<RolloutRecord, 'id' | 'version'>,
  at: Date | null,
): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE rollouts SET wake_at = coalesce($3::timestamptz, 'infinity') WHERE id = $1 AND version = $2`,
    [rollout.id, rollout.version, at],
  );
  return rowCount === 1;
}

/** Tells the engine to look again: something that it sleeps on has changed. */
export async function touchRollout(db: Queryable, rolloutId: string): Promise<void> {
  await db.query('UPDATE rollouts SET wake_at = NULL, version = version + 1 WHERE id = $1', [rolloutId]);
  await announce(db, rolloutId);
}

export async function approvePlan(db: Queryable, rolloutId: string, by: string): Promise<void> {
  await db.query('UPDATE rollouts SET approved_by = $2, approved_at = now() WHERE id = $1', [rolloutId, by]);
}

/** Failures until now are borne. */
export async function forgiveRollout(db: Queryable, rolloutId: string): Promise<void> {
  await db.query('UPDATE rollouts SET forgiven_at = clock_timestamp() WHERE id = $1', [rolloutId]);
}

/** The registry's clock: the only one that decides. */
export async function registryNow(db: Queryable): Promise<Date> {
  const { rows } = await db.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  const [clock] = rows;
  if (clock === undefined) throw new Error('SELECT without FROM answered no row');
  return clock.now;
}

/** Has the statements in flight cancelled. */
export async function forceRollout(db: Queryable, rolloutId: string): Promise<void> {
  await db.query('UPDATE rollouts SET forced_at = coalesce(forced_at, now()) WHERE id = $1', [rolloutId]);
}

/** Puts a plan in the queue, or keeps its place and takes the new words. */
export async function queueRollout(
  db: Queryable,
  rolloutId: string,
  { by, despiteRehearsal }: { by: Caller; despiteRehearsal: boolean },
): Promise<void> {
  await db.query(
    `UPDATE rollouts SET queued_at = coalesce(queued_at, now()), queued_by = $2,
            queued_despite_rehearsal = $3, cause = NULL, wake_at = NULL, version = version + 1
      WHERE id = $1`,
    [rolloutId, JSON.stringify(by), despiteRehearsal],
  );
  await announce(db, rolloutId);
}

/**
 * Why a plan stays a plan, when it is nothing more than that: it may have been started or dropped meanwhile. With
 * `againInMs` it keeps its place in the queue, and is tried again then. Answers whether it was.
 */
export async function explainPlan(
  db: Queryable,
  rolloutId: string,
  cause: Cause,
  againInMs: number | null,
): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE rollouts
        SET cause = $2, version = version + 1, wake_at = clock_timestamp() + $3::int * interval '1 ms',
            queued_at = CASE WHEN $3::int IS NOT NULL THEN queued_at END,
            queued_by = CASE WHEN $3::int IS NOT NULL THEN queued_by END
      WHERE id = $1 AND state = 'planned' AND queued_at IS NOT NULL`,
    [rolloutId, JSON.stringify(cause), againInMs],
  );
  if (rowCount === 1) await announce(db, rolloutId);
  return rowCount === 1;
}

export async function supersede(db: Queryable, rolloutId: string, by: string): Promise<void> {
  await db.query('UPDATE rollouts SET superseded_by = $2 WHERE id = $1', [rolloutId, by]);
}
