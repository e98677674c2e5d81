import type { PgClient, Queryable } from '../../platform/pg.ts';
import { quoteIdent, quoteLiteral } from '../../platform/pg.ts';
import { BACKFILLS_TABLE_SQL } from './backfill-store.ts';
import type { Applied, Migration } from './release.ts';
import { OUTSIDE } from './session.ts';
import { LEAVE_OWNER } from './transaction.ts';

/**
 * What a tenant's database knows about its migrations. The truth of what is applied is node-pg-migrate's own
 * `public.pgmigrations`, owned by the tenant's owner role; schema `fleet`, owned by the server's admin and
 * written by its migrator, adds what that table cannot hold.
 */
export interface DatabaseState {
  /** Whether this session holds the migration lock now. */
  locked: boolean;
  applied: Applied[];
  /** Application name of the session that applied each, where the record has it. */
  appliedBy: ReadonlyMap<string, string>;
  /**
   * The non-transactional migration that stands half done, with the count of its statements that are. While it
   * is recorded as applied, it is half undone: the statements are those of its down part.
   */
  interrupted: Interrupted | null;
  /**
   * A first statement outside a transaction was sent, and nobody knows whether it had an effect: like `interrupted`,
   * this says that the schema lies between two versions, but nothing has to be finished first.
   */
  begun: boolean;
  /** The newest epoch that has taken the database over, by rollout or operation. */
  fences: ReadonlyMap<string, number>;
}

export interface Interrupted {
  migration: string;
  statementsDone: number;
}

/** node-pg-migrate's own advisory lock (per database): its runner and ours exclude each other. */
export const MIGRATION_LOCK = '7241865325823964';

/** Exactly the table that node-pg-migrate 9 makes. */
const PGMIGRATIONS_SQL =
  'CREATE TABLE IF NOT EXISTS public.pgmigrations ' +
  '(id SERIAL PRIMARY KEY, name varchar(255) NOT NULL, run_on timestamp NOT NULL)';

// CREATE SCHEMA IF NOT EXISTS demands the right to create even where the schema exists, hence the question.
const FLEET_SCHEMA_SQL = `
DO $$ BEGIN IF to_regnamespace('fleet') IS NULL THEN CREATE SCHEMA fleet; END IF; END $$;
CREATE TABLE IF NOT EXISTS fleet.identity (
  tenant_id uuid NOT NULL, database_id uuid NOT NULL,
  one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row));
CREATE TABLE IF NOT EXISTS fleet.migrations (
  name text PRIMARY KEY, checksum text NOT NULL, release text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(), application_name text NOT NULL);
CREATE TABLE IF NOT EXISTS fleet.progress (
  migration text PRIMARY KEY, statements_done integer NOT NULL, updated_at timestamptz NOT NULL DEFAULT now());${BACKFILLS_TABLE_SQL}`;

/** Makes the tables where they are missing, as the server's admin. */
export async function createBookkeeping(client: Queryable, ownerRole: string): Promise<void> {
  await client.query(
    `BEGIN; ${FLEET_SCHEMA_SQL} SET LOCAL ROLE ${quoteIdent(ownerRole)}; ${PGMIGRATIONS_SQL}; COMMIT`,
  );
}

/**
 * Takes the migration lock if it is free, and reads what is applied: one round trip. `before` is SQL to run
 * ahead of that in the same trip. @throws SQLSTATE 42P01 where the tables are missing.
 */
export async function lockAndRead(client: PgClient, before = ''): Promise<DatabaseState> {
  const results = await runScript(
    client,
    `${before}SELECT pg_try_advisory_lock(${MIGRATION_LOCK}) AS locked; ${READ_SQL}`,
  );
  const [lock, ...rest] = results.slice(-4);
  return { locked: lock?.rows[0]?.locked === true, ...toState(rest) };
}

/** Reads what is applied, without the lock. @throws SQLSTATE 42P01 where the tables are missing. */
export async function readState(client: PgClient): Promise<DatabaseState> {
  return { locked: false, ...toState(await runScript(client, READ_SQL)) };
}

/** Begins the key of a fence in `fleet.progress`, where names of migrations stand otherwise. */
const FENCE = 'fence:';

/** The same for a migration whose first statement was sent. */
const BEGUN = 'begun:';

/** Migrations that stand half done: fences aside, and those of which nothing is known to be done. */
export const HALF_DONE_SQL = `SELECT migration FROM fleet.progress
  WHERE NOT starts_with(migration, '${FENCE}') AND NOT starts_with(migration, '${BEGUN}')`;

/** By id, the order of insertion: run_on is local time of whoever ran it, and may go backwards. */
const READ_SQL = `BEGIN;
    SELECT name FROM public.pgmigrations ORDER BY id;
    SET LOCAL ROLE NONE;
    SELECT name, checksum, application_name FROM fleet.migrations;
    SELECT migration, statements_done FROM fleet.progress;
    COMMIT`;

interface ScriptResult {
  command: string;
  rows: Record<string, unknown>[];
}

/** Runs several statements in one message; returns the results of its SELECTs. */
async function runScript(client: PgClient, sql: string): Promise<ScriptResult[]> {
  // The driver answers a script with an array, which its types do not say.
  const results: unknown = await client.query(sql);
  return (results as ScriptResult[]).filter(({ command }) => command === 'SELECT');
}

function toState([names, records, progress]: ScriptResult[]): Omit<DatabaseState, 'locked'> {
  const rows = records?.rows ?? [];
  const checksumOf = new Map(rows.map((row) => [row.name, String(row.checksum)]));
  const notes = (progress?.rows ?? []).map((row) => ({
    name: String(row.migration),
    count: Number(row.statements_done),
  }));
  const half = notes.find(({ name }) => !name.startsWith(FENCE) && !name.startsWith(BEGUN));
  return {
    applied: (names?.rows ?? []).map(({ name }) => ({
      name: String(name),
      checksum: checksumOf.get(name) ?? null,
    })),
    appliedBy: new Map(rows.map((row) => [String(row.name), String(row.application_name)])),
    interrupted: half === undefined ? null : { migration: half.name, statementsDone: half.count },
    begun: notes.some(({ name }) => name.startsWith(BEGUN)),
    fences: new Map(
      notes
        .filter(({ name }) => name.startsWith(FENCE))
        .map(({ name, count }) => [name.slice(FENCE.length), count]),
    ),
  };
}

/**
 * SQL that runs `sql` (none for a migration that is done in steps) as the owner and records the migration as
 * applied: the row that node-pg-migrate would write, as the owner too, and ours beside it, as the migrator.
 * Runs inside the caller's transaction. Ours may be there already where somebody has taken the other one back by hand;
 * not where the record `isProven`.
 */
export function applySql(
  migration: Migration,
  target: { release: string; isProven?: boolean },
  sql: string,
): string {
  const name = quoteLiteral(migration.name);
  const replace = target.isProven === true ? '' : REPLACE_RECORD;
  return `${sql}
;INSERT INTO public.pgmigrations (name, run_on) VALUES (${name}, LOCALTIMESTAMP);
${LEAVE_OWNER}
INSERT INTO fleet.migrations (name, checksum, release, application_name)
VALUES (${name}, ${quoteLiteral(migration.checksum)}, ${quoteLiteral(target.release)},
        current_setting('application_name'))${replace};
${migration.transactional ? '' : endProgressSql(migration)}`;
}

const REPLACE_RECORD = `
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, release = excluded.release,
  applied_at = now(), application_name = excluded.application_name`;

/** The mirror of `applySql`: runs the down part `sql` as the owner, and takes both records back. */
export function revertSql(migration: Migration, sql: string): string {
  const name = quoteLiteral(migration.name);
  return `${sql}
;DELETE FROM public.pgmigrations WHERE name = ${name};
${LEAVE_OWNER}
DELETE FROM fleet.migrations WHERE name = ${name};
${migration.transactional ? '' : endProgressSql(migration)}`;
}

function endProgressSql({ name }: Migration): string {
  return `DELETE FROM fleet.progress WHERE migration IN (${quoteLiteral(name)}, ${quoteLiteral(BEGUN + name)});`;
}

/**
 * SQL, a transaction of its own, that notes ahead of a migration's first statement that it is sent: killed behind its
 * effect, or failed with an invalid index left, it has changed the schema, and no other note says so.
 */
export function begunSql({ name }: Migration): string {
  return `BEGIN; SET LOCAL ROLE NONE; INSERT INTO fleet.progress (migration, statements_done)
    VALUES (${quoteLiteral(BEGUN + name)}, 0) ON CONFLICT DO NOTHING; COMMIT;`;
}

/** SQL that notes how many statements of a non-transactional migration are done; ends the transaction's work. */
export function progressSql(migration: Migration, statementsDone: number): string {
  return `${LEAVE_OWNER}
INSERT INTO fleet.progress (migration, statements_done) VALUES (${quoteLiteral(migration.name)}, ${statementsDone})
ON CONFLICT (migration) DO UPDATE SET statements_done = excluded.statements_done, updated_at = now();`;
}

/** Name and epoch in `fleet:<rollout or operation id>:<epoch>`; undefined for other names. */
export function sessionOwner(applicationName: string): { id: string; epoch: number } | undefined {
  const [, id, epoch] = /^fleet:([^:]+):([0-9]{1,9})$/.exec(applicationName) ?? [];
  return id === undefined ? undefined : { id, epoch: Number(epoch) };
}

/**
 * SQL that ends the sessions which older epochs of the same rollout or operation have left in this database,
 * waits until they are gone (their statement has then either committed or will never), and puts up a fence: an
 * older owner that was only asleep, and connects later, finds it under the migration lock.
 */
export function endOlderSessionsSql(applicationName: string): string {
  const owner = sessionOwner(applicationName);
  if (owner === undefined) return '';
  return `SET ROLE NONE; SELECT pg_terminate_backend(pid, ${TERMINATE_WAIT_MS}) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND CASE WHEN application_name ~ '^fleet:[^:]+:[0-9]{1,9}(${OUTSIDE})?$'
                AND split_part(application_name, ':', 2) = ${quoteLiteral(owner.id)}
               THEN split_part(application_name, ':', 3)::int < ${owner.epoch} ELSE false END;
    DELETE FROM fleet.progress WHERE starts_with(migration, '${FENCE}') AND updated_at < now() - interval '${FENCE_KEPT}';
    INSERT INTO fleet.progress AS p (migration, statements_done)
    VALUES (${quoteLiteral(`${FENCE}${owner.id}`)}, ${owner.epoch})
    ON CONFLICT (migration) DO UPDATE
      SET statements_done = greatest(p.statements_done, excluded.statements_done), updated_at = now();
    RESET ROLE; `;
}

/** A process that slept for longer has long lost every connection that it would need. */
const FENCE_KEPT = '7 days';

/** 5 s: a backend ends within milliseconds unless it is writing a checkpoint-sized WAL record. */
const TERMINATE_WAIT_MS = 5_000;
