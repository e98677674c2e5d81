import { FleetError, isUnreachable, SQLSTATE, sqlState } from '../../platform/errors.ts';
import { sleep } from '../../platform/wait.ts';
import { paceAfter } from './backfill-eta.ts';
import { describeRange, nextRangeSql, rowSql, type KeyRange, type KeyValue } from './backfill-key.ts';
import { tell, waitForLeave, type BackfillRun } from './backfill-run.ts';
import { sizeAfterChunk, sizeAfterFailure } from './backfill-size.ts';
import { saveBackfillSql, type BackfillState } from './backfill-store.ts';
import { changedRows, type StatementResult } from './statistics.ts';
import { LEAVE_OWNER, OPENING_STATEMENTS, openingSql } from './transaction.ts';

/**
 * A transaction of two seconds at most: a second and a half for the statement, the rest for its deferred checks and
 * the commit. Milliseconds.
 */
const STATEMENT_CAP_MS = 1_500;
const CLOSING_CAP_MS = 400;
/** Waiting longer than half a second for a row means that its holder is not about to let go; milliseconds. */
const CHUNK_LOCK_TIMEOUT_MS = 500;
/** Finding the next rows is reading an index; where that takes longer, fewer rows are asked for. Milliseconds. */
const FIND_CAP_MS = 1_500;

/** Each is a failure to look into; more than these are no longer exceptions. */
const MOST_QUARANTINED = 20;
/** Times that the smallest chunk is tried where others are in its way, and the pause between, in milliseconds. */
const LEAST_TRIES = 3;
const LEAST_PAUSE_MS = 200;

/** Goes through the rows behind the cursor up to the bound, chunk by chunk. */
export async function runPass(run: BackfillRun): Promise<void> {
  let more = true;
  while (more) {
    await waitForLeave(run);
    more = await runChunk(run);
    tell(run, null);
  }
}

/** Answers false when nothing is left up to the bound. */
async function runChunk(run: BackfillRun): Promise<boolean> {
  const { state } = run;
  if (state.bound === null) return false;
  const startedAt = performance.now();
  let range: KeyRange | undefined;
  try {
    range = await findRange(run, { after: state.cursor, bound: state.bound, rows: state.chunkRows });
    if (range === undefined) return false;
    await runRange(run, range, { ...state, cursor: range.to, rowsDone: state.rowsDone + range.rows });
  } catch (error) {
    await afterFailure(run, range, error);
    return true;
  }
  const chunk = { rows: range.rows, ms: performance.now() - startedAt };
  run.failures = 0;
  run.pace = paceAfter(run.pace, chunk);
  run.state = { ...run.state, chunkRows: sizeAfterChunk(state.chunkRows, chunk, run.limits) };
  return true;
}

/** The next rows in the order of the key; undefined where there are none. */
export async function findRange(
  run: BackfillRun,
  at: { after: KeyValue | null; bound: KeyValue; rows: number },
): Promise<KeyRange | undefined> {
  const results: unknown = await run.client.query(
    `BEGIN READ ONLY; SET LOCAL statement_timeout = ${FIND_CAP_MS}; ${nextRangeSql(run.key, at)}; COMMIT`,
  );
  const range = (results as { rows: KeyRange[] }[])[2]?.rows[0];
  return range === undefined || range.rows === 0 ? undefined : range;
}

/** The statement on one range, and the state that is true then, in one transaction and message. */
async function runRange(run: BackfillRun, range: KeyRange, next: BackfillState): Promise<void> {
  const { client, migration, ownerRole, key, statement } = run;
  const limits = {
    lockTimeoutMs: migration.lockTimeoutMs ?? CHUNK_LOCK_TIMEOUT_MS,
    statementTimeoutMs: STATEMENT_CAP_MS,
  };
  const results: unknown = await client.query(
    `${openingSql({ ...migration, ...limits }, ownerRole)}${statement(rowSql(key, range.from), rowSql(key, range.to))}
;SET LOCAL statement_timeout = ${CLOSING_CAP_MS}; ${LEAVE_OWNER} ${saveBackfillSql(next)} COMMIT`,
  );
  run.state = next;
  const own = (results as StatementResult[]).slice(OPENING_STATEMENTS, OPENING_STATEMENTS + 1);
  run.changed += changedRows(own);
}

/** A chunk that failed is tried again with fewer rows; the fewest are left out, and the rest goes on. */
async function afterFailure(run: BackfillRun, range: KeyRange | undefined, error: unknown): Promise<void> {
  await rollBack(run, error);
  const { state, limits } = run;
  const rows = range?.rows ?? state.chunkRows;
  if (rows > limits.minRows) {
    run.state = { ...state, chunkRows: sizeAfterFailure(rows, limits) };
    return;
  }
  run.failures += 1;
  if (range === undefined || (isInTheWay(error) && run.failures < LEAST_TRIES)) {
    if (run.failures >= LEAST_TRIES) throw error;
    return sleep(LEAST_PAUSE_MS * run.failures, run.signal);
  }
  run.failures = 0;
  await quarantine(run, range, error);
}

/** @throws the error itself where it is not about the rows: then fewer of them fail as well */
async function rollBack(run: BackfillRun, error: unknown): Promise<void> {
  const code = sqlState(error);
  if (code === undefined || isUnreachable(error) || !isAboutRows(code)) throw error;
  await run.client.query('ROLLBACK');
}

/** Time-outs, locks, and what the rows themselves are refused for. */
function isAboutRows(code: string): boolean {
  return IN_THE_WAY.has(code) || code.startsWith('22') || code.startsWith('23') || code === RAISED;
}

/** By a trigger or a function of the tenant's. */
const RAISED = 'P0001';

const IN_THE_WAY = new Set<string>([
  SQLSTATE.queryCanceled,
  SQLSTATE.lockNotAvailable,
  SQLSTATE.deadlockDetected,
  SQLSTATE.serializationFailure,
]);

function isInTheWay(error: unknown): boolean {
  return IN_THE_WAY.has(sqlState(error) ?? '');
}

async function quarantine(run: BackfillRun, range: KeyRange, error: unknown): Promise<void> {
  const { state } = run;
  const left = {
    ...range,
    sqlState: sqlState(error) ?? '',
    message: error instanceof Error ? error.message : '',
  };
  const next = {
    ...state,
    cursor: range.to,
    rowsDone: state.rowsDone + range.rows,
    quarantine: [...state.quarantine, left],
  };
  await run.client.query(`BEGIN; SET LOCAL ROLE NONE; ${saveBackfillSql(next)} COMMIT`);
  run.state = next;
  if (next.quarantine.length > MOST_QUARANTINED) throw quarantined(run);
}

/**
 * Tries again what was left out; whoever was in its way may be gone, and the data mended. What fails again stays.
 */
export async function runQuarantined(run: BackfillRun): Promise<void> {
  for (const range of run.state.quarantine) {
    await waitForLeave(run);
    const rest = run.state.quarantine.filter((other) => other !== range);
    try {
      await runRange(run, range, { ...run.state, quarantine: rest });
    } catch (error) {
      await rollBack(run, error);
    }
    tell(run, null);
  }
}

/** @throws FleetError 422 `backfill_quarantined` while ranges are left out */
export function refuseQuarantined(run: BackfillRun): void {
  if (run.state.quarantine.length > 0) throw quarantined(run);
}

/** Ranges that a message names. */
const MOST_NAMED = 3;

function quarantined({ migration, key, state }: BackfillRun): FleetError {
  const ranges = state.quarantine;
  const named = ranges
    .slice(0, MOST_NAMED)
    .map(
      (range) =>
        `${describeRange(key, range)} (${range.rows} rows): ${range.message} (SQLSTATE ${range.sqlState})`,
    );
  const more = ranges.length > MOST_NAMED ? `; and ${ranges.length - MOST_NAMED} more` : '';
  return new FleetError({
    code: 'backfill_quarantined',
    status: 422,
    message: `${migration.name} left out ${ranges.length} ranges of ${key.table} that fail: ${named.join('; ')}${more}`,
    fix: 'mend these rows or end who holds them, and retry: it goes on where it stands and tries these ranges again',
  });
}
