import type { RehearsalOutcome, RehearsalState, RehearsalTarget } from '../../../contract/rehearsal.ts';
import type { ErrorSummary } from '../../../platform/errors.ts';
import type { Queryable } from '../../../platform/pg.ts';
import type { SchemaStamp } from '../../releases/stamp.ts';
import { setSchemaStamps } from '../../servers/database-store.ts';
import { transitionRehearsal, type RehearsalEvent, type Rehearsed } from './rehearsal.ts';

/** SQL of `rehearsals` and `rehearsal_targets`. Reads of rollouts, tenants and databases are joins. */
export interface RehearsalRecord {
  id: string;
  rolloutId: string;
  release: string;
  state: RehearsalState;
  lockTimeoutMs: number;
  maxHoldMs: number;
  clones: number;
  clonesChosen: boolean;
  error: ErrorSummary | null;
  actor: string;
  reason: string | null;
  createdAt: Date;
  startedAt: Date | null;
  finishedAt: Date | null;
}

export const REHEARSAL_COLUMNS = `r.id, r.rollout_id AS "rolloutId", r.release, r.state, r.lock_timeout_ms AS "lockTimeoutMs",
  r.max_hold_ms AS "maxHoldMs", r.clones, r.clones_chosen AS "clonesChosen", r.error, r.actor, r.reason,
  r.created_at AS "createdAt", r.started_at AS "startedAt", r.finished_at AS "finishedAt"`;

/** Rehearsals that some worker should be carrying. */
export const OPEN_REHEARSALS_SQL = "SELECT id::text FROM rehearsals WHERE state IN ('queued', 'running')";

/** A rollout's target that is left to run. */
export interface Candidate {
  databaseId: string;
  tenantId: string;
  slug: string;
  region: string;
}

/** Those that wait, failed, or were not reached; in the order of the plan. */
export async function rehearsalCandidates(db: Queryable, rolloutId: string): Promise<Candidate[]> {
  const { rows } = await db.query<Candidate>(
    `SELECT t.database_id AS "databaseId", t.tenant_id AS "tenantId", n.slug, n.region
       FROM rollout_targets t JOIN tenants n ON n.id = t.tenant_id
      WHERE t.rollout_id = $1 AND t.state IN ('pending', 'deferred', 'failed', 'unreachable')
      ORDER BY t.wave, t.ordinal`,
    [rolloutId],
  );
  return rows;
}

export interface NewRehearsal extends Pick<
  RehearsalRecord,
  'id' | 'rolloutId' | 'release' | 'lockTimeoutMs' | 'maxHoldMs' | 'clones' | 'actor' | 'reason'
> {
  /** Databases to look at, and those of them that are copied. */
  databases: readonly string[];
  cloned: readonly string[];
}

export async function insertRehearsal(tx: Queryable, made: NewRehearsal): Promise<void> {
  await tx.query(
    `INSERT INTO rehearsals (id, rollout_id, release, state, lock_timeout_ms, max_hold_ms, clones, actor, reason)
     VALUES ($1, $2, $3, 'queued', $4, $5, $6, $7, $8)`,
    [
      made.id,
      made.rolloutId,
      made.release,
      made.lockTimeoutMs,
      made.maxHoldMs,
      made.clones,
      made.actor,
      made.reason,
    ],
  );
  await tx.query(
    `INSERT INTO rehearsal_targets (rehearsal_id, database_id, tenant_id, wave, ordinal, how)
     SELECT $1, t.database_id, t.tenant_id, t.wave, t.ordinal,
            CASE WHEN t.database_id = ANY ($4) THEN 'clone' ELSE 'in_place' END
       FROM rollout_targets t WHERE t.rollout_id = $2 AND t.database_id = ANY ($3)`,
    [made.id, made.rolloutId, made.databases, made.cloned],
  );
}

export async function findRehearsal(db: Queryable, id: string): Promise<RehearsalRecord | undefined> {
  const { rows } = await db.query<RehearsalRecord>(
    `SELECT ${REHEARSAL_COLUMNS} FROM rehearsals r WHERE r.id = $1`,
    [id],
  );
  return rows[0];
}

/** The rehearsal of the rollout that is not over. */
export async function openRehearsal(db: Queryable, rolloutId: string): Promise<string | undefined> {
  const { rows } = await db.query<{ id: string }>(
    "SELECT id FROM rehearsals WHERE rollout_id = $1 AND state IN ('queued', 'running')",
    [rolloutId],
  );
  return rows[0]?.id;
}

/** Moves the rehearsal; false, and nothing changed, where the event is not allowed or somebody was faster. */
export async function moveRehearsal(
  tx: Queryable,
  rehearsal: Pick<RehearsalRecord, 'id' | 'state'>,
  event: RehearsalEvent,
  error: ErrorSummary | null = null,
): Promise<boolean> {
  const next = transitionRehearsal(rehearsal.state, event);
  if (next === undefined) return false;
  const { rowCount } = await tx.query(
    `UPDATE rehearsals
        SET state = $3, error = $4, started_at = coalesce(started_at, now()),
            finished_at = CASE WHEN $3 IN ('succeeded', 'failed') THEN now() END
      WHERE id = $1 AND state = $2`,
    [rehearsal.id, rehearsal.state, next, error === null ? null : JSON.stringify(error)],
  );
  return rowCount === 1;
}

/** A target that is still to be looked at. */
export interface PendingTarget {
  databaseId: string;
  serverId: string;
  slug: string;
  database: string;
  ownerRole: string;
  tenantState: string;
  /** Its tenant has left the fleet, or is leaving. */
  gone: boolean;
  how: RehearsalTarget['how'];
  missing: string[];
  /** Of the last comparison of its schema. */
  schemaStamp: SchemaStamp | null;
}

/** In the order of the plan. */
export async function pendingTargets(db: Queryable, id: string): Promise<PendingTarget[]> {
  const { rows } = await db.query<PendingTarget>(
    `SELECT t.database_id AS "databaseId", d.server_id AS "serverId", n.slug, d.name AS database,
            d.owner_role AS "ownerRole", n.state AS "tenantState", t.how, p.missing,
            d.schema_stamp AS "schemaStamp",
            d.state = 'dropped' OR n.state IN ('offboarding', 'deleted') AS gone
       FROM rehearsal_targets t
       JOIN rehearsals r ON r.id = t.rehearsal_id
       JOIN rollout_targets p ON p.rollout_id = r.rollout_id AND p.database_id = t.database_id
       JOIN databases d ON d.id = t.database_id
       JOIN tenants n ON n.id = t.tenant_id
      WHERE t.rehearsal_id = $1 AND t.outcome IS NULL
      ORDER BY t.wave, t.ordinal`,
    [id],
  );
  return rows;
}

/** Stores which databases are copied beside those that were named. */
export async function chooseClones(tx: Queryable, id: string, databaseIds: readonly string[]): Promise<void> {
  await tx.query(
    `UPDATE rehearsal_targets SET how = 'clone'
      WHERE rehearsal_id = $1 AND database_id = ANY ($2) AND outcome IS NULL`,
    [id, databaseIds],
  );
  await tx.query('UPDATE rehearsals SET clones_chosen = true WHERE id = $1', [id]);
}

export interface TargetRehearsal extends Rehearsed {
  databaseId: string;
  durationMs: number;
  /** Of its schema, where that is proven. */
  stamp: SchemaStamp | null;
}

/** Stores what was found, and the stamps of proven schemas; a word that is there already stays. */
export async function recordRehearsed(
  tx: Queryable,
  id: string,
  found: readonly TargetRehearsal[],
): Promise<void> {
  const rows = found.map(({ databaseId, outcome, reason, error, stamp: _stamp, ...measured }) => {
    return { databaseId, outcome, reason, error, measured };
  });
  await tx.query(
    `UPDATE rehearsal_targets t
        SET outcome = f.outcome, reason = f.reason, error = nullif(f.error, 'null'), measured = f.measured,
            finished_at = clock_timestamp()
       FROM jsonb_to_recordset($2::jsonb)
              AS f ("databaseId" uuid, outcome text, reason text, error jsonb, measured jsonb)
      WHERE t.rehearsal_id = $1 AND t.database_id = f."databaseId" AND t.outcome IS NULL`,
    [id, JSON.stringify(rows)],
  );
  await setSchemaStamps(
    tx,
    found.filter(({ stamp }) => stamp !== null),
  );
}

/**
 * Of these databases, those of which the last rehearsal of the release has said that they would fail. It is taken back
 * by a later one that passes; or that passes what failed, where something else was left out.
 */
export async function failingRehearsals(
  db: Queryable,
  release: string,
  rolloutId: string,
): Promise<{ tenant: string; region: string; error: ErrorSummary | null }[]> {
  const { rows } = await db.query<{
    tenant: string;
    region: string;
    error: ErrorSummary | null;
    outcome: RehearsalOutcome;
  }>(
    `SELECT n.slug AS tenant, n.region, last.error, last.outcome
       FROM rollout_targets p
       JOIN tenants n ON n.id = p.tenant_id
      CROSS JOIN LATERAL (
        SELECT t.outcome, t.error, t.finished_at,
               jsonb_path_query_first(t.measured, '$.migrations[*] ? (@.outcome == "failed").name') AS failed FROM rehearsal_targets t JOIN rehearsals r ON r.id = t.rehearsal_id
         WHERE t.database_id = p.database_id AND r.release = $1 AND t.outcome IN ('passes', 'fails')
         ORDER BY t.finished_at DESC LIMIT 1) AS last
      WHERE p.rollout_id = $2 AND p.state IN ('pending', 'deferred') AND last.outcome = 'fails'
        AND NOT EXISTS (
          SELECT FROM rehearsal_targets t JOIN rehearsals r ON r.id = t.rehearsal_id
           WHERE t.database_id = p.database_id AND r.release = $1 AND t.outcome = 'not_rehearsed'
             AND t.finished_at > last.finished_at
             AND t.measured -> 'migrations'
                 @> jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('outcome', 'passed', 'name', last.failed))))
      ORDER BY n.slug`,
    [release, rolloutId],
  );
  return rows;
}
