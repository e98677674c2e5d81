import { TARGET_STATES, type RolloutState, type TargetState } from '../../contract/rollout.ts';
import type { ErrorSummary } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { Lease } from '../operations/lease.ts';
import type { SchemaStamp } from '../releases/stamp.ts';
import type { MigrationStatistics } from '../releases/statistics.ts';
import { setProvenVersionsSql } from '../servers/database-store.ts';
import { moveTarget, targetAfter, targetSources, type TargetEvent } from './rollout.ts';
import { ROLLOUT_CHANNEL } from './announce.ts';
import type { Matched } from './plan/match.ts';
import type { PlannedTarget } from './plan/plan.ts';

/**
 * SQL of `rollout_targets`. Reads of tenants and databases are joins for names and for the state that the tenant
 * is in at the very moment of the claim.
 */
export interface WaitingTarget extends Matched {
  databaseId: string;
  serverId: string;
  /** Runs before this one: more than 0 for targets that are retried or taken over. */
  tries: number;
}

/** A target that this worker now has in flight. */
export interface ClaimedTarget {
  databaseId: string;
  serverId: string;
  slug: string;
  database: string;
  ownerRole: string;
  /** Last migration that the registry knows of in the database; null for none. */
  schemaVersion: string | null;
  /** Of its schema when that was last found to be as it should; null: unknown. */
  schemaStamp: SchemaStamp | null;
  /** Run before: a session of an older owner may still be at work there. */
  ranBefore: boolean;
  /** Ordinal of its wave. */
  wave: number;
}

/** Where a database was when its target ended. */
export interface Reached {
  /** Last migration that it has for sure; null for none. */
  schemaVersion: string | null;
  /** The one after it, where some of its statements are done and others not. */
  halfApplied?: string | null;
}

/** How a target ended; written in the next batch. */
export interface TargetResult {
  databaseId: string;
  serverId: string;
  state: keyof typeof RESULT_EVENTS;
  /** Absent where nobody can say: the registry's record stays. */
  reached?: Reached | undefined;
  /** Stored with the version. */
  schemaStamp?: SchemaStamp | null;
  error: ErrorSummary | null;
  reason: string | null;
  /** Of a held one: milliseconds until it is tried again. */
  waitMs?: number;
  durationMs: number;
  /** What applying, or taking back, took: of this run. */
  lockWaitMs?: number;
  rows?: number;
  applied?: readonly MigrationStatistics[];
}

/** What a claim makes of a target, and what its result finds it in. */
const IN_FLIGHT = targetAfter('claim');
/** What becomes of a target whose owner was lost. */
const ORPHANED = targetAfter('orphan');
/** What happened to a target in flight that ended so. */
const RESULT_EVENTS = {
  verified: 'verify',
  failed: 'fail',
  unreachable: 'lose',
  skipped: 'skip',
  /** It ended between two steps because the rollout stands still; the rest runs when that goes on. */
  stopped: 'yield',
  /** Its backfill is held: the rest runs when `waitMs` are over. */
  held: 'hold',
} as const;
/** What has not begun. */
const WAITING = targetAfter('requeue');

export interface Batch {
  rolloutId: string;
  lease: Pick<Lease, 'resource' | 'holder' | 'epoch'>;
  results: readonly TargetResult[];
  /** Databases to claim. Those that are not waiting any more, or may not run now, are passed over. */
  claim: readonly string[];
  /** Whether watchers are told now; bursts of small batches need not wake them each. */
  announce: boolean;
}

export interface BatchAnswer {
  state: RolloutState;
  /** Raised by everything that a person says to the rollout. */
  version: number;
  claimed: ClaimedTarget[];
}

/**
 * Writes what has ended, with the schema versions that it led to, and claims what comes next: behind the fence, in
 * one statement and round trip. Nothing is claimed unless the rollout is running.
 */
export async function writeBatch(db: Queryable, batch: Batch): Promise<BatchAnswer> {
  const { rows } = await db.query<BatchAnswer>({ name: 'rollout_batch', text: WRITE_BATCH }, [
    batch.rolloutId,
    batch.lease.epoch,
    JSON.stringify(
      batch.results.map((result) => ({
        ...result,
        state: moveTarget(IN_FLIGHT, RESULT_EVENTS[result.state]),
      })),
    ),
    batch.claim,
    targetSources('claim'),
    batch.announce ? ROLLOUT_CHANNEL : null,
    batch.lease.resource,
    batch.lease.holder,
    IN_FLIGHT,
    targetAfter('skip'),
    targetAfter('defer'),
    targetSources('defer'),
    WAITING,
  ]);
  const row = rows[0];
  if (row === undefined) throw new Error(`rollout ${batch.rolloutId} has vanished`);
  return row;
}

/**
 * The fence reads the lease as it is now, not as of the statement's snapshot, and holds it until the commit: a
 * takeover came before it, and nothing is written, or comes after.
 * The rollout's row is locked in share mode: a pause or abort that has committed is seen, one that comes later
 * waits for this batch. `was` makes the update compare the state that was read.
 */
const WRITE_BATCH = `
  WITH fenced AS MATERIALIZED (
    SELECT fence($7, $8, $2) AS ours
  ), active AS MATERIALIZED (
    SELECT r.id, r.state, r.version FROM rollouts r WHERE r.id = $1 AND (SELECT ours FROM fenced) FOR SHARE
  ), result AS MATERIALIZED (
    -- What stopped half way for an abort will not go on.
    SELECT r."databaseId", r.error, r."durationMs", r.reached, r."schemaStamp", r."lockWaitMs", r.rows, r.applied,
           CASE WHEN NOT left_off THEN r."waitMs" END AS "waitMs", CASE WHEN left_off THEN $10 ELSE r.state END AS state,
           CASE WHEN left_off THEN 'aborted' ELSE r.reason END AS reason
      FROM active a, jsonb_to_recordset($3::jsonb)
             AS r("databaseId" uuid, state text, error jsonb, reason text, "durationMs" int, reached jsonb,
                  "schemaStamp" jsonb, "lockWaitMs" int, rows bigint, applied jsonb, "waitMs" int),
           LATERAL (SELECT a.state = 'aborted' AND r.state IN ($13, $11) AS left_off) AS abort
  ), at_head AS (
    ${setProvenVersionsSql(`(SELECT "databaseId", reached ->> 'schemaVersion', nullif("schemaStamp", 'null') FROM result
                             WHERE reached IS NOT NULL)`)}
  ), written AS (
    UPDATE rollout_targets t
       SET state = r.state, error = nullif(r.error, 'null'), reason = r.reason, duration_ms = r."durationMs",
           lock_wait_ms = r."lockWaitMs", rows_affected = r.rows, half_applied = r.reached ->> 'halfApplied',
           applied = coalesce(t.applied, '[]') || coalesce(r.applied, '[]'),
           not_before = clock_timestamp() + r."waitMs" * interval '1 millisecond',
           finished_at = CASE WHEN r.state <> ALL ($5) THEN clock_timestamp() END
      FROM result r
     WHERE t.rollout_id = $1 AND t.database_id = r."databaseId" AND t.state = $9 AND t.epoch = $2
  ), picked AS (
    SELECT t.database_id, t.state AS was, t.wave, t.tries, d.server_id, d.name, d.owner_role, d.schema_version, d.schema_stamp, n.slug, n.state AS tenant_state,
           CASE WHEN d.state = 'dropped' OR n.state IN ('offboarding', 'deleted') THEN $10
                WHEN n.state IN ('suspended', 'moving') AND t.state = ANY($12) THEN $11
                ELSE $9 END AS next
      FROM active a
      JOIN rollout_targets t ON t.rollout_id = a.id
      JOIN databases d ON d.id = t.database_id
      JOIN tenants n ON n.id = t.tenant_id
     WHERE a.state = 'running' AND t.database_id = ANY($4::uuid[]) AND t.state = ANY($5)
  ), claimed AS (
    UPDATE rollout_targets t
       SET state = p.next, epoch = $2, error = NULL, duration_ms = NULL, not_before = NULL, server_id = p.server_id,
           reason = CASE p.next WHEN $10 THEN 'deleted' WHEN $11 THEN p.tenant_state END,
           tries = t.tries + CASE WHEN p.next = $9 THEN 1 ELSE 0 END,
           started_at = clock_timestamp(),
           finished_at = CASE WHEN p.next <> $9 THEN clock_timestamp() END
      FROM picked p
     WHERE t.rollout_id = $1 AND t.database_id = p.database_id AND t.state = p.was
     RETURNING p.*
  )
  SELECT a.state, a.version,
         coalesce((SELECT json_agg(json_build_object('databaseId', c.database_id, 'serverId', c.server_id,
                            'slug', c.slug, 'database', c.name, 'ownerRole', c.owner_role, 'schemaVersion', c.schema_version,
                            'schemaStamp', c.schema_stamp,
                            'ranBefore', c.tries > 0, 'wave', c.wave))
                     FROM claimed c WHERE c.next = $9), '[]') AS claimed,
         CASE WHEN $6::text IS NOT NULL THEN pg_notify($6, $1::text)::text END
    FROM active a`;

/** Targets in flight under an older epoch: what became of them only their databases know. */
export async function orphanTargets(db: Queryable, rolloutId: string, epoch: number): Promise<number> {
  const { rowCount } = await db.query(
    `UPDATE rollout_targets SET state = $4
      WHERE rollout_id = $1 AND state = ANY($3) AND epoch < $2`,
    [rolloutId, epoch, targetSources('orphan'), ORPHANED],
  );
  return rowCount ?? 0;
}

/** What of a wave still has to run, those with an unknown outcome first. */
export async function waitingTargets(
  db: Queryable,
  rolloutId: string,
  wave: number,
): Promise<WaitingTarget[]> {
  const { rows } = await db.query<WaitingTarget>(
    `SELECT t.database_id AS "databaseId", t.server_id AS "serverId", t.tries, t.tenant_id AS "tenantId", n.slug,
            n.region, n.tier, n.labels, s.name AS "serverName"
       FROM rollout_targets t
       JOIN tenants n ON n.id = t.tenant_id
       JOIN servers s ON s.id = t.server_id
      WHERE t.rollout_id = $1 AND t.wave = $2 AND t.state = ANY($3)
      ORDER BY t.state = $4 DESC, t.ordinal`,
    [rolloutId, wave, targetSources('claim'), ORPHANED],
  );
  return rows;
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
       (rollout_id, tenant_id, database_id, server_id, wave, ordinal, state, missing, reason, not_before, skipped_by,
        finished_at)
     SELECT $1, "tenantId", "databaseId", "serverId", wave, last.ordinal + number, state, missing, reason,
            "notBefore", "skippedBy", CASE WHEN "skippedBy" IS NOT NULL THEN now() END
       FROM ROWS FROM (jsonb_to_recordset($2::jsonb) AS ("tenantId" uuid, "databaseId" uuid, "serverId" uuid,
              wave int, state text, missing jsonb, reason text, "notBefore" timestamptz, "skippedBy" text))
              WITH ORDINALITY AS target("tenantId", "databaseId", "serverId", wave, state, missing, reason,
                                        "notBefore", "skippedBy", number),
            (SELECT coalesce(max(ordinal), 0) AS ordinal FROM rollout_targets WHERE rollout_id = $1) AS last
     ON CONFLICT (rollout_id, database_id) DO UPDATE
       SET wave = excluded.wave, ordinal = excluded.ordinal, server_id = excluded.server_id, state = excluded.state,
           missing = excluded.missing, reason = excluded.reason, not_before = excluded.not_before, error = NULL,
           finished_at = NULL
       WHERE t.state = ANY($3) AND t.skipped_by IS NULL`,
    [rolloutId, JSON.stringify(targets), targetSources('join')],
  );
  return rowCount ?? 0;
}

/** Targets of a stopped rollout whose outcome nobody knows. */
export async function unknownTargets(db: Queryable, rolloutId: string): Promise<ClaimedTarget[]> {
  const { rows } = await db.query<ClaimedTarget>(
    `SELECT t.database_id AS "databaseId", d.server_id AS "serverId", n.slug, d.name AS database,
            d.owner_role AS "ownerRole", d.schema_version AS "schemaVersion", d.schema_stamp AS "schemaStamp", true AS "ranBefore", t.wave
       FROM rollout_targets t
       JOIN databases d ON d.id = t.database_id
       JOIN tenants n ON n.id = t.tenant_id
      WHERE t.rollout_id = $1 AND t.state = $2
      ORDER BY t.wave, t.ordinal`,
    [rolloutId, ORPHANED],
  );
  return rows;
}

/** Writes what the database of an `unknown` target answered. */
export async function settleTarget(
  db: Queryable,
  rolloutId: string,
  databaseId: string,
  outcome: {
    event: TargetEvent;
    error: ErrorSummary | null;
    reason: string | null;
    halfApplied?: string | null;
  },
): Promise<void> {
  await db.query(
    `UPDATE rollout_targets SET state = $3, error = $4, reason = $5, half_applied = $7, finished_at = now()
      WHERE rollout_id = $1 AND database_id = $2 AND state = $6`,
    [
      rolloutId,
      databaseId,
      moveTarget(ORPHANED, outcome.event),
      outcome.error === null ? null : JSON.stringify(outcome.error),
      outcome.reason,
      ORPHANED,
      outcome.halfApplied ?? null,
    ],
  );
}

/** Whether the tenant has been deleted, or is being deleted, since the target was claimed. */
export async function isGone(db: Queryable, databaseId: string): Promise<boolean> {
  const { rows } = await db.query<{ gone: boolean }>(
    `SELECT d.state = 'dropped' OR n.state IN ('offboarding', 'deleted') AS gone
       FROM databases d JOIN tenants n ON n.id = d.tenant_id WHERE d.id = $1`,
    [databaseId],
  );
  return rows[0]?.gone ?? true;
}

/** After an abort: what has not begun will not begin, wherever it waits. */
export async function skipPending(db: Queryable, rolloutId: string, reason: string): Promise<number> {
  const { rowCount } = await db.query(
    `UPDATE rollout_targets SET state = $3, reason = $2, not_before = NULL, finished_at = now()
      WHERE rollout_id = $1 AND (state = $4 OR state = ANY($5) AND not_before IS NOT NULL)`,
    [rolloutId, reason, moveTarget(WAITING, 'skip'), WAITING, targetSources('due')],
  );
  return rowCount ?? 0;
}

export type Counts = Record<TargetState, number>;

/** Targets by state; of one wave, or of the whole rollout. */
export async function countTargets(db: Queryable, rolloutId: string, wave: number | null): Promise<Counts> {
  const { rows } = await db.query<{ state: TargetState; count: number }>(
    `SELECT state, count(*)::int AS count FROM rollout_targets
      WHERE rollout_id = $1 AND ($2::int IS NULL OR wave = $2) GROUP BY state`,
    [rolloutId, wave],
  );
  return Object.assign(emptyCounts(), Object.fromEntries(rows.map((row) => [row.state, row.count])));
}

export function emptyCounts(): Counts {
  return Object.fromEntries(TARGET_STATES.map((state) => [state, 0])) as Counts;
}

/** The first failed target of the rollout, or of a wave those that nobody has borne, for the words of a halt. */
export async function firstFailure(
  db: Queryable,
  { rolloutId, wave }: { rolloutId: string; wave: number | null },
  state: 'failed' | 'unreachable',
): Promise<{ tenant: string; region: string; server: string } | undefined> {
  const { rows } = await db.query<{ tenant: string; region: string; server: string }>(
    `SELECT n.slug AS tenant, n.region, s.name AS server
       FROM rollout_targets t JOIN tenants n ON n.id = t.tenant_id JOIN servers s ON s.id = t.server_id
       JOIN rollout_waves w ON w.rollout_id = t.rollout_id AND w.ordinal = t.wave
      WHERE t.rollout_id = $1 AND t.state = $2
        AND ($3::int IS NULL OR t.wave = $3 AND t.finished_at > coalesce(w.forgiven_at, '-infinity'))
      ORDER BY t.finished_at, t.ordinal LIMIT 1`,
    [rolloutId, state, wave],
  );
  return rows[0];
}

/** Databases of the rollout that still have to be run. */
export async function databasesToRun(db: Queryable, rolloutId: string): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    'SELECT database_id AS id FROM rollout_targets WHERE rollout_id = $1 AND state = $2',
    [rolloutId, WAITING],
  );
  return rows.map(({ id }) => id);
}

/** Regions that the rollout touches. */
export async function targetRegions(db: Queryable, rolloutId: string): Promise<string[]> {
  const { rows } = await db.query<{ region: string }>(
    `SELECT DISTINCT n.region FROM rollout_targets t JOIN tenants n ON n.id = t.tenant_id
      WHERE t.rollout_id = $1 ORDER BY n.region`,
    [rolloutId],
  );
  return rows.map((row) => row.region);
}
