import type { Operation, OperationFilter, OperationState, OperationStep } from '../../contract/operation.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { EndError } from './definition.ts';
import type { Lease } from './lease.ts';
import type { Wait } from './waiting.ts';
import { endState, operationSources, transitionOperation, type EndEvent } from './state.ts';

type Fence = Pick<Lease, 'resource' | 'holder' | 'epoch'>;

export interface NewOperation {
  id: string;
  kind: string;
  steps: string[];
  subject: string;
  subjectName: string;
  region: string;
  input: unknown;
  actor: string;
  actorRole: string;
  requestId: string | null;
}

/** Stores a queued operation with its steps. A second open one of the subject raises SQLSTATE 23505. */
export async function insertOperation(tx: Queryable, operation: NewOperation): Promise<void> {
  await tx.query(
    `WITH operation AS (
       INSERT INTO operations (id, kind, state, subject, subject_name, region, input, actor, actor_role, request_id)
       VALUES ($1, $2, 'queued', $3, $4, $5, $6::jsonb, $7, $8, $9) RETURNING id)
     INSERT INTO operation_steps (operation_id, ordinal, name, state)
     SELECT operation.id, step.ordinal, step.name, 'pending'
       FROM operation, unnest($10::text[]) WITH ORDINALITY AS step (name, ordinal)`,
    [
      operation.id,
      operation.kind,
      operation.subject,
      operation.subjectName,
      operation.region,
      JSON.stringify(operation.input),
      operation.actor,
      operation.actorRole,
      operation.requestId,
      operation.steps,
    ],
  );
}

/** The open operation of a subject, if there is one. */
export async function findOpenOperation(
  db: Queryable,
  subject: string,
): Promise<{ id: string; kind: string } | undefined> {
  const { rows } = await db.query<{ id: string; kind: string }>(
    "SELECT id, kind FROM operations WHERE subject = $1 AND state IN ('queued', 'running')",
    [subject],
  );
  return rows[0];
}

/** The subject's newest operation that was created after this one. */
export async function findNewerOperation(
  db: Queryable,
  operation: { id: string; subject: string },
): Promise<{ id: string; kind: string } | undefined> {
  const { rows } = await db.query<{ id: string; kind: string }>(
    `SELECT n.id, n.kind FROM operations n JOIN operations o ON o.id = $1
      WHERE n.subject = $2 AND n.created_at > o.created_at ORDER BY n.created_at DESC LIMIT 1`,
    [operation.id, operation.subject],
  );
  return rows[0];
}

/** An operation as the engine needs it: with its input and the outputs of its steps. */
export interface RunnableOperation {
  id: string;
  kind: string;
  state: OperationState;
  direction: 'forward' | 'backward';
  subject: string;
  subjectName: string;
  region: string;
  input: unknown;
  error: EndError | null;
  cancelRequested: boolean;
  /** Milliseconds since the step in hand first looked at what it waits for; null: it waits for nothing. */
  waitedMs: number | null;
  actor: string;
  actorRole: string;
  requestId: string | null;
  steps: { ordinal: number; name: string; state: OperationStep['state']; output: unknown; tries: number }[];
}

/** The operation as the engine needs it, if there is one. */
export async function loadOperation(db: Queryable, id: string): Promise<RunnableOperation | undefined> {
  const { rows } = await db.query<{ operation: RunnableOperation }>(
    `SELECT json_build_object(
        'id', o.id, 'kind', o.kind, 'state', o.state, 'direction', o.direction, 'subject', o.subject,
        'subjectName', o.subject_name, 'region', o.region, 'input', o.input, 'error', o.error,
        'cancelRequested', o.cancel_requested, 'actor', o.actor, 'actorRole', o.actor_role,
        'requestId', o.request_id,
        'waitedMs', round(extract(epoch FROM clock_timestamp() - o.waiting_since) * 1000),
        'steps', (SELECT json_agg(json_build_object('ordinal', s.ordinal, 'name', s.name, 'state', s.state,
                                                    'output', s.output, 'tries', s.tries) ORDER BY s.ordinal)
                    FROM operation_steps s WHERE s.operation_id = o.id)) AS operation
       FROM operations o WHERE o.id = $1`,
    [id],
  );
  return rows[0]?.operation;
}

/** What one write of the owner changes. All writes go through `advance`, fenced, in one round trip. */
export interface Advance {
  /** Step whose work is over, and how. */
  finish?:
    { ordinal: number; state: 'done' | 'undone' | 'failed'; output?: unknown; error?: EndError } | undefined;
  /** Step that starts now (forward) or whose undo starts now (backward). */
  start?: { ordinal: number; direction: 'forward' | 'backward' } | undefined;
  /** Turns the operation round: its steps are undone from now on, because of `error`. */
  turn?: EndError | undefined;
}

/**
 * Writes progress and answers whether someone asked to cancel. The fence is part of the statement: a stale
 * owner's write fails with FL001 and changes nothing.
 */
export async function advance(
  db: Queryable,
  id: string,
  fence: Fence,
  change: Advance,
): Promise<{ cancelRequested: boolean }> {
  const { rows } = await db.query<{ cancel_requested: boolean }>(
    `WITH owned AS MATERIALIZED (SELECT fence($1, $2, $3)),
     finished AS (
       UPDATE operation_steps SET state = $6, finished_at = now(), output = COALESCE($7::jsonb, output),
              error = $8::jsonb
         FROM owned WHERE operation_id = $4 AND ordinal = $5),
     started AS (
       UPDATE operation_steps s SET state = CASE WHEN $10 = 'forward' THEN 'running' ELSE s.state END,
              tries = tries + 1, finished_at = NULL,
              -- Another look of a step that waits: it began with the first.
              started_at = CASE WHEN o.waiting_for IS NULL THEN now() ELSE s.started_at END
         FROM owned, operations o WHERE s.operation_id = $4 AND s.ordinal = $9 AND o.id = $4),
     operation AS (
       UPDATE operations SET state = $12, started_at = COALESCE(started_at, now()),
              direction = CASE WHEN $11::jsonb IS NULL THEN direction ELSE 'backward' END,
              error = COALESCE($11::jsonb, error),
              -- Whoever ends a step, or turns round, waits no more.
              waiting_for = CASE WHEN $5 IS NULL AND $11 IS NULL THEN waiting_for END,
              waiting_since = CASE WHEN $5 IS NULL AND $11 IS NULL THEN waiting_since END,
              look_at = CASE WHEN $5 IS NULL AND $11 IS NULL THEN look_at END
         FROM owned WHERE id = $4 AND state = ANY($13)
       RETURNING cancel_requested)
     SELECT cancel_requested, pg_notify('fleet_operations', $4::text) FROM operation`,
    [
      fence.resource,
      fence.holder,
      fence.epoch,
      id,
      change.finish?.ordinal ?? null,
      change.finish?.state ?? null,
      change.finish?.output === undefined ? null : JSON.stringify(change.finish.output),
      change.finish?.error === undefined ? null : JSON.stringify(change.finish.error),
      change.start?.ordinal ?? null,
      change.start?.direction ?? null,
      change.turn === undefined ? null : JSON.stringify(change.turn),
      transitionOperation('queued', 'start'),
      operationSources('start'),
    ],
  );
  return { cancelRequested: rows[0]?.cancel_requested ?? false };
}

/**
 * Notes what the step in hand waits for; answers when somebody looks again. Runs inside a fenced transaction. A look
 * that came back is no death of a worker: the step's starts are counted anew.
 */
export async function parkOperation(tx: Queryable, id: string, ordinal: number, wait: Wait): Promise<Date> {
  const { rows } = await tx.query<{ lookAt: Date }>(
    `WITH looked AS (UPDATE operation_steps SET tries = 0 WHERE operation_id = $1 AND ordinal = $2),
     parked AS (
       UPDATE operations SET waiting_for = $3, waiting_since = COALESCE(waiting_since, now()),
              look_at = clock_timestamp() + $4 * interval '1 millisecond'
        WHERE id = $1 AND state = 'running' RETURNING look_at)
     SELECT look_at AS "lookAt", pg_notify('fleet_operations', $1::text) FROM parked`,
    [id, ordinal, wait.what, wait.afterMs],
  );
  if (rows[0] === undefined) throw new Error(`operation ${id} is not running: it cannot wait`);
  return rows[0].lookAt;
}

/**
 * Ends the operation; runs inside a fenced transaction. Nobody else ends what is fenced, so that an operation
 * that is not in `from` is a fault and its end is not written.
 */
export async function finishOperation(
  tx: Queryable,
  id: string,
  from: OperationState,
  event: EndEvent,
  error: EndError | null,
): Promise<void> {
  const { rowCount } = await tx.query(
    `WITH ended AS (
       UPDATE operations SET state = $3, error = $4::jsonb, finished_at = now(),
              waiting_for = NULL, waiting_since = NULL, look_at = NULL
        WHERE id = $1 AND state = $2 RETURNING id)
     SELECT pg_notify('fleet_operations', id::text) FROM ended`,
    [id, from, endState(from, event), error === null ? null : JSON.stringify(error)],
  );
  if (rowCount !== 1) throw new Error(`operation ${id} is not ${from}: it cannot ${event}`);
}

/** Queues a failed or cancelled operation again; forward from its first step, or on with its undoing. */
export async function requeueOperation(
  tx: Queryable,
  id: string,
  direction: 'forward' | 'backward',
  restart: boolean,
) {
  await tx.query(
    `WITH operation AS (
       UPDATE operations SET state = $4, direction = $2, attempt = attempt + 1, finished_at = NULL,
              cancel_requested = false, error = CASE WHEN $2 = 'forward' THEN NULL ELSE error END
        WHERE id = $1 AND state = ANY($5) RETURNING id),
     steps AS (
       UPDATE operation_steps s SET tries = 0, error = NULL,
              state = CASE WHEN $3 THEN 'pending' WHEN s.state = 'failed' THEN 'running' ELSE s.state END,
              output = CASE WHEN $3 THEN NULL ELSE s.output END
         FROM operation WHERE s.operation_id = operation.id)
     SELECT pg_notify('fleet_operations', $1::text)`,
    [id, direction, restart, transitionOperation('failed', 'retry'), operationSources('retry')],
  );
}

/** The owner reads it with its next write. */
export async function requestCancel(tx: Queryable, id: string): Promise<void> {
  await tx.query('UPDATE operations SET cancel_requested = true WHERE id = $1', [id]);
}

/** Locks one operation's row for a decision about it. */
export async function lockOperation(tx: Queryable, id: string): Promise<void> {
  await tx.query('SELECT 1 FROM operations WHERE id = $1 FOR UPDATE', [id]);
}

const INSTANT = `'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'`;
const instant = (column: string): string => `to_char(${column} AT TIME ZONE 'UTC', ${INSTANT})`;

const OPERATION_JSON = `json_build_object(
  'id', o.id, 'kind', o.kind, 'state', o.state, 'direction', o.direction, 'subject', o.subject,
  'subjectName', o.subject_name, 'region', o.region, 'error', o.error, 'cancelRequested', o.cancel_requested,
  'waiting', CASE WHEN o.waiting_for IS NOT NULL THEN json_build_object('for', o.waiting_for,
              'since', ${instant('o.waiting_since')}, 'nextLook', ${instant('o.look_at')}) END,
  'actor', o.actor, 'requestId', o.request_id, 'attempt', o.attempt, 'createdAt', ${instant('o.created_at')},
  'startedAt', ${instant('o.started_at')}, 'finishedAt', ${instant('o.finished_at')},
  'steps', (SELECT json_agg(json_build_object('name', s.name, 'state', s.state, 'tries', s.tries, 'error', s.error,
              'startedAt', ${instant('s.started_at')}, 'finishedAt', ${instant('s.finished_at')}) ORDER BY s.ordinal)
              FROM operation_steps s WHERE s.operation_id = o.id))`;

/** One operation in the shape of the API. */
export async function getOperation(db: Queryable, id: string): Promise<Operation | undefined> {
  const { rows } = await db.query<{ operation: Operation }>(
    `SELECT ${OPERATION_JSON} AS operation FROM operations o WHERE o.id = $1`,
    [id],
  );
  return rows[0]?.operation;
}

export interface OperationPage extends OperationFilter {
  /** Regions the caller may see; null = all. */
  regions: string[] | null;
  limit: number;
  /** createdAt and id of the last item of the page before. */
  cursor?: { createdAt: string; id: string } | undefined;
}

/** Newest first. */
export async function listOperations(db: Queryable, page: OperationPage): Promise<Operation[]> {
  const { rows } = await db.query<{ operation: Operation }>(
    `SELECT ${OPERATION_JSON} AS operation FROM operations o
      WHERE ($1::text IS NULL OR o.state = $1) AND ($2::text IS NULL OR o.kind = $2)
        AND ($3::text IS NULL OR o.subject = $3 OR o.subject_name = $3)
        AND ($4::text[] IS NULL OR o.region = ANY ($4))
        AND ($5::timestamptz IS NULL OR (date_trunc('milliseconds', o.created_at), o.id) < ($5, $6::uuid))
        AND ($8::timestamptz IS NULL OR o.finished_at > $8)
      ORDER BY date_trunc('milliseconds', o.created_at) DESC, o.id DESC LIMIT $7`,
    [
      page.state ?? null,
      page.kind ?? null,
      page.subject ?? null,
      page.regions,
      page.cursor?.createdAt ?? null,
      page.cursor?.id ?? null,
      page.limit,
      page.finishedAfter ?? null,
    ],
  );
  return rows.map((row) => row.operation);
}
