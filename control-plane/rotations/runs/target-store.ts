import type {
  RotationCounts,
  RotationPlan,
  RotationTarget,
  RotationTargetState,
} from '../../../contract/rotation.ts';
import type { Match } from '../../../contract/rollout.ts';
import type { TenantState } from '../../../contract/tenant.ts';
import type { ErrorSummary } from '../../../platform/errors.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { MATCH_SQL, matchValues } from '../../tenants/match-store.ts';
import type { Standing, WaitingTarget } from './plan.ts';
import { NO_TARGETS, targetAfter, targetSources, type RunRecord } from './run.ts';

/** SQL of `rotation_targets`. Reads of tenants, databases, servers, operations and rollouts are joins. */

const TENANTS_SQL = `tenants t
  LEFT JOIN databases d ON d.tenant_id = t.id AND d.state = 'ready'
  LEFT JOIN servers s ON s.id = d.server_id`;

/** Those that have a credential, be it of use now or not. One that is coming up has a new one. */
const MATCHED_SQL = `${TENANTS_SQL} WHERE t.state IN ('active', 'suspended', 'moving') AND ${MATCH_SQL}`;

/** The tenants that a run would take. */
export async function matchedTenants(
  db: Queryable,
  match: Match,
  regions: string[] | null,
): Promise<(Omit<RotationPlan['targets'][number], 'deferred'> & { id: string; state: TenantState })[]> {
  const { rows } = await db.query<{
    id: string;
    tenant: string;
    region: string;
    server: string | null;
    state: TenantState;
  }>(
    `SELECT t.id, t.slug AS tenant, t.region, s.name AS server, t.state FROM ${MATCHED_SQL} ORDER BY t.slug`,
    matchValues(match, regions),
  );
  return rows;
}

/** Gives the run its targets, servers mixed. */
export async function insertTargets(
  tx: Queryable,
  runId: string,
  tenantIds: readonly string[],
): Promise<void> {
  await tx.query(
    `INSERT INTO rotation_targets (run_id, tenant_id, ordinal, state)
     SELECT $1::uuid, id, row_number() OVER (ORDER BY md5($1::uuid::text || id::text)), 'pending'
       FROM unnest($2::uuid[]) AS tenant (id)`,
    [runId, tenantIds],
  );
}

/** Writes how the operations of targets in work have ended. */
export async function settleTargets(tx: Queryable, runId: string): Promise<void> {
  await tx.query(
    `UPDATE rotation_targets t
        SET state = CASE WHEN o.state = 'succeeded' THEN $2 ELSE $3 END,
            error = CASE WHEN o.state <> 'succeeded' THEN o.error END, finished_at = o.finished_at
       FROM operations o
      WHERE t.run_id = $1 AND t.state = ANY ($4) AND o.id = t.operation_id AND o.finished_at IS NOT NULL`,
    [runId, targetAfter('rotate'), targetAfter('fail'), targetSources('rotate')],
  );
}

/** More than there is ever room for: those on servers that are taken are passed over. */
const LOOKED_AT = 200;
/**
 * A place rests twice as long as its rotation took, so that work is a third of it: on a small machine rotations
 * without a pause triple the p99 of the tenants' requests. The slower a machine, the longer it rests.
 */
const REST_RATIO = 2;
/** 10 s: one that hung for a minute says nothing of how long the next ones take. */
const REST_MAX_MS = 10_000;

/** What of the run has ended a short time ago still takes its place. */
const IS_TAKEN = `(x.state = 'running' OR NOT r.now AND x.operation_id IS NOT NULL AND clock_timestamp() < x.finished_at
  + least(${REST_RATIO} * (x.finished_at - x.started_at), ${REST_MAX_MS} * interval '1 millisecond'))`;

/** How the run stands. */
export async function findStanding(
  db: Queryable,
  run: Pick<RunRecord, 'id' | 'parallel' | 'perServer' | 'now' | 'stop'>,
): Promise<Standing> {
  const { rows } = await db.query<Omit<Standing, 'run' | 'counts' | 'waiting'>>(
    `SELECT (SELECT coalesce(array_agg(d.server_id::text), '{}') FROM rotation_targets x
               LEFT JOIN databases d ON d.tenant_id = x.tenant_id AND d.state = 'ready'
              WHERE x.run_id = r.id AND ${IS_TAKEN}) AS taken,
            t.failures AS "failuresInARow", t.later,
            (extract(epoch FROM clock_timestamp() - coalesce(t.ended, r.started_at)) * 1000)::float8 AS "quietMs"
       FROM rotation_runs r,
            LATERAL (SELECT max(finished_at) FILTER (WHERE state = 'rotated') AS succeeded FROM rotation_targets
                      WHERE run_id = r.id) AS last,
            LATERAL (SELECT count(*) FILTER (WHERE state = 'deferred' AND not_before IS NOT NULL)::int AS later,
                            max(finished_at) FILTER (WHERE state IN ('rotated', 'failed')) AS ended,
                            count(*) FILTER (WHERE state = 'failed'
                              AND finished_at > coalesce(last.succeeded, '-infinity'))::int AS failures
                       FROM rotation_targets WHERE run_id = r.id) AS t
      WHERE r.id = $1`,
    [run.id],
  );
  const [row] = rows;
  if (row === undefined) throw new Error(`rotation run ${run.id} has vanished`);
  return {
    ...row,
    run,
    counts: (await countTargets(db, [run.id])).get(run.id) ?? NO_TARGETS,
    waiting: await findWaiting(db, run.id),
  };
}

async function findWaiting(db: Queryable, runId: string): Promise<WaitingTarget[]> {
  const { rows } = await db.query<WaitingTarget>(
    `SELECT x.tenant_id AS "tenantId", t.slug, t.state AS "tenantState", d.server_id AS "serverId"
       FROM rotation_targets x
       JOIN tenants t ON t.id = x.tenant_id
       LEFT JOIN databases d ON d.tenant_id = t.id AND d.state = 'ready'
      WHERE x.run_id = $1 AND (x.state = 'pending' OR x.state = 'deferred' AND x.not_before <= clock_timestamp())
      ORDER BY x.ordinal LIMIT ${LOOKED_AT}`,
    [runId],
  );
  return rows;
}

/** How many targets of each run stand where. */
export async function countTargets(
  db: Queryable,
  runIds: readonly string[],
): Promise<Map<string, RotationCounts>> {
  const { rows } = await db.query<{ id: string; counts: Partial<RotationCounts> }>(
    `SELECT run_id AS id, json_object_agg(state, count) AS counts
       FROM (SELECT run_id, state, count(*)::int FROM rotation_targets WHERE run_id = ANY ($1) GROUP BY run_id, state) c
      GROUP BY run_id`,
    [runIds],
  );
  return new Map(rows.map(({ id, counts }) => [id, { ...NO_TARGETS, ...counts }]));
}

/** The rollout that has the tenant's database in work, if there is one. */
export async function findMigrating(db: Queryable, tenantId: string): Promise<string | undefined> {
  const { rows } = await db.query<{ id: string }>(
    `SELECT x.rollout_id AS id FROM rollout_targets x JOIN databases d ON d.id = x.database_id AND d.state = 'ready'
      WHERE d.tenant_id = $1 AND x.state IN ('running', 'unknown') LIMIT 1`,
    [tenantId],
  );
  return rows[0]?.id;
}

/** Where one target goes on a `TargetEvent`, with what is to be known of it then. */
export interface TargetMove {
  event: 'start' | 'fail' | 'defer' | 'skip';
  operationId?: string;
  reason?: string;
  error?: ErrorSummary;
  /** Of a deferred one; absent: it is not looked at again in this run. */
  againMs?: number;
}

/** Moves one target; does nothing where it does not stand where the event begins. */
export async function moveTarget(
  tx: Queryable,
  target: { runId: string; tenantId: string },
  { event, operationId, reason, error, againMs }: TargetMove,
): Promise<void> {
  await tx.query(
    `UPDATE rotation_targets
        SET state = $3, operation_id = $4, reason = $5, error = $6,
            not_before = clock_timestamp() + $7 * interval '1 millisecond',
            started_at = CASE WHEN $3 = 'running' THEN clock_timestamp() END,
            finished_at = CASE WHEN $3 IN ('failed', 'skipped') THEN clock_timestamp() END
      WHERE run_id = $1 AND tenant_id = $2 AND state = ANY ($8)`,
    [
      target.runId,
      target.tenantId,
      targetAfter(event),
      operationId ?? null,
      reason ?? null,
      error === undefined ? null : JSON.stringify(error),
      againMs ?? null,
      targetSources(event),
    ],
  );
}

/** Of a run that ends: nothing that has not begun will. Those that are deferred keep their reason. */
export async function skipPending(tx: Queryable, runId: string, reason: string): Promise<void> {
  await tx.query(
    `UPDATE rotation_targets SET state = $2, reason = $3, finished_at = now() WHERE run_id = $1 AND state = 'pending'`,
    [runId, targetAfter('skip'), reason],
  );
  await tx.query(
    'UPDATE rotation_targets SET not_before = NULL WHERE run_id = $1 AND not_before IS NOT NULL',
    [runId],
  );
}

export interface TargetPage {
  states: readonly RotationTargetState[] | null;
  after?: { tenant: string } | undefined;
  limit: number;
}

type Stored = Omit<RotationTarget, 'notBefore' | 'startedAt' | 'finishedAt'> &
  Record<'notBefore' | 'startedAt' | 'finishedAt', Date | null>;

/** By tenant. */
export async function listTargets(db: Queryable, runId: string, page: TargetPage): Promise<RotationTarget[]> {
  const { rows } = await db.query<Stored>(
    `SELECT t.slug AS tenant, t.region, s.name AS server, x.state, x.reason, x.error, x.operation_id AS operation,
            x.not_before AS "notBefore", x.started_at AS "startedAt", x.finished_at AS "finishedAt"
       FROM ${TENANTS_SQL} JOIN rotation_targets x ON x.tenant_id = t.id
      WHERE x.run_id = $1 AND ($2::text[] IS NULL OR x.state = ANY ($2)) AND ($3::text IS NULL OR t.slug > $3)
      ORDER BY t.slug LIMIT $4`,
    [runId, page.states, page.after?.tenant ?? null, page.limit],
  );
  return rows.map((row) => ({
    ...row,
    notBefore: row.notBefore?.toISOString() ?? null,
    startedAt: row.startedAt?.toISOString() ?? null,
    finishedAt: row.finishedAt?.toISOString() ?? null,
  }));
}
