import type { RehearsedMigration } from '../../../contract/rehearsal.ts';
import { quoteIdent, type PgClient } from '../../../platform/pg.ts';
import type { Migration } from '../../releases/release.ts';
import { SEARCH_PATH } from '../../releases/session.ts';
import { OWN_CHANGES_SQL } from '../../releases/stamp.ts';
import { changedRows, type StatementResult } from '../../releases/statistics.ts';
import { LOCKS_SQL, TABLES_SQL, watchTables, type HeldLock, type TableFacts } from './measure.ts';
import type { TableWatch } from './measure.ts';
import type { Prepared } from './prepare.ts';
import type { Limits } from './rehearsal.ts';

/** A transaction that tries migrations, and is rolled back. */
export interface Trial {
  maxHoldMs: number;
  /** The migrations that went through. */
  steps: RehearsedMigration[];
  /** The one that is being tried, or was tried last. */
  current: Prepared | undefined;
  watch: TableWatch;
  /**
   * Runs one migration, and settles its deferred checks as a commit would. Only one that is `revocable` can be stepped
   * back from when it fails. @throws what the server says
   */
  run(step: Prepared, revocable: boolean): Promise<void>;
  /** Takes back the last migration alone, which failed: the next one can be tried. */
  stepBack(): Promise<void>;
  /** Where the migration's text would begin in what was sent last, in characters; see migrationFailure. */
  sqlStartsAt(): number;
  /** Whether its time is up. */
  isOver(): boolean;
  /** Rows that it has written in the catalogues; null where it failed, and nobody knows. */
  changes: number | null;
  /** How long it was open, in milliseconds. */
  heldMs(): number;
  rollBack(): Promise<void>;
}

interface TrialRequest {
  ownerRole: string;
  limits: Limits;
  /** Called while a statement takes so long that it may be waiting for a lock. */
  onWait: () => void;
}

/** A timer of ours and one of the server's may differ by so much, in milliseconds. */
const CLOCK_SLACK_MS = 5;
/** What the server gives is whole milliseconds, and 0 would mean for ever. */
const LEAST_TIMEOUT_MS = 1;

/**
 * Each statement is sent by itself behind settings that leave it what is left of the time, so that the server keeps
 * to the bound even if a migration sets its own limits, or this process stands still between two statements.
 */
export async function openTransaction(client: PgClient, request: TrialRequest): Promise<Trial> {
  const { maxHoldMs, lockTimeoutMs } = request.limits;
  const openedAt = performance.now();
  const deadline = openedAt + maxHoldMs;
  let sqlStartsAt = 0;
  let heldMs: number | undefined;

  const send = async (sql: string, migration?: Migration, start = 0): Promise<StatementResult[]> => {
    const left = Math.max(LEAST_TIMEOUT_MS, Math.ceil(deadline - performance.now()));
    const own = migration?.statementTimeoutMs ?? 0;
    const ahead =
      `SET LOCAL lock_timeout = ${lockTimeoutMs}; SET LOCAL idle_in_transaction_session_timeout = ${left}; ` +
      `SET LOCAL statement_timeout = ${own > 0 ? Math.min(own, left) : left};\n`;
    sqlStartsAt = ahead.length - start;
    const look = setTimeout(request.onWait, lockTimeoutMs / 2);
    try {
      // The driver answers a script with an array, which its types do not say.
      const results: unknown = await client.query(ahead + sql);
      return (results as StatementResult[]).slice(SETTINGS);
    } finally {
      clearTimeout(look);
    }
  };

  await client.query('BEGIN');
  const [own, tables] = await send(OWN_CHANGES_SQL + TABLES_SQL);
  const changesBefore = changesOf(own);
  const trial: Trial = {
    maxHoldMs,
    steps: [],
    current: undefined,
    watch: watchTables(rowsOf<TableFacts>(tables)),
    changes: 0,
    run: async (step, revocable) => {
      trial.current = step;
      trial.changes = null;
      const { name } = step.migration;
      const begunAt = performance.now();
      if (revocable) await send('SAVEPOINT tried');
      await send(`SET LOCAL ROLE ${quoteIdent(request.ownerRole)}; SET LOCAL search_path TO ${SEARCH_PATH}`);
      let rows = 0;
      for (const { text, start } of step.statements) {
        rows += changedRows(await send(text, step.migration, start));
      }
      await settle(send, step.migration);
      const durationMs = Math.round(performance.now() - begunAt);
      const [after, held, changes] = await send(`${TABLES_SQL}; ${LOCKS_SQL}; ${OWN_CHANGES_SQL}`);
      trial.watch.note(name, rowsOf<TableFacts>(after), rowsOf<HeldLock>(held));
      trial.changes = changesOf(changes) - changesBefore;
      trial.steps.push({ name, outcome: 'passed', durationMs, rows });
    },
    stepBack: async () => {
      // A transaction that has failed takes no settings before this; those from before the savepoint hold again.
      const results: unknown = await client.query(`ROLLBACK TO SAVEPOINT tried; ${OWN_CHANGES_SQL}`);
      trial.changes = changesOf((results as StatementResult[])[1]) - changesBefore;
    },
    sqlStartsAt: () => sqlStartsAt,
    isOver: () => performance.now() >= deadline - CLOCK_SLACK_MS,
    heldMs: () => heldMs ?? Math.round(performance.now() - openedAt),
    rollBack: async () => {
      // A connection that is lost has rolled back by itself.
      await client.query('ROLLBACK').catch(() => undefined);
      heldMs = Math.round(performance.now() - openedAt);
    },
  };
  return trial;
}

/** Statements ahead of each message. */
const SETTINGS = 3;

const DEFERRABLE_SQL = `
  SELECT string_agg(format('%I.%I', n.nspname, c.conname), ', ') AS all,
         string_agg(format('%I.%I', n.nspname, c.conname), ', ') FILTER (WHERE c.condeferred) AS deferred
    FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
   WHERE c.condeferrable AND has_schema_privilege(n.oid, 'USAGE')`;

/**
 * Checks what a commit would check now, and lets the next migration defer again. By name: `SET CONSTRAINTS ALL` would
 * hold for constraints that a later migration makes, too.
 */
async function settle(
  send: (sql: string, migration?: Migration) => Promise<StatementResult[]>,
  migration: Migration,
): Promise<void> {
  const [found] = rowsOf<{ all: string | null; deferred: string | null }>((await send(DEFERRABLE_SQL))[0]);
  if (found === undefined || found.all === null) return;
  await send(`SET CONSTRAINTS ${found.all} IMMEDIATE`, migration);
  if (found.deferred !== null) await send(`SET CONSTRAINTS ${found.deferred} DEFERRED`);
}

function changesOf(result: StatementResult | undefined): number {
  return Number(rowsOf<{ changes: string }>(result)[0]?.changes ?? 0);
}

function rowsOf<T>(result: StatementResult | undefined): T[] {
  return (result as { rows?: T[] } | undefined)?.rows ?? [];
}
