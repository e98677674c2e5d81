import type { LintMigration } from '../../../platform/sql-lint/rule.ts';
import { REACH } from './reach-cases.ts';

/** The schema that every case stands on: published before. */
export const HISTORY = `
  CREATE TYPE mood AS ENUM ('calm', 'glad');
  CREATE DOMAIN positive AS int CHECK (value > 0);
  CREATE TABLE people (id bigint PRIMARY KEY, email text, name text NOT NULL);
  CREATE TABLE tasks (
    id bigint PRIMARY KEY, title text NOT NULL, code varchar(10), amount numeric(10, 2), due timestamp,
    seen timestamp, done boolean, owner_id bigint, state mood, "Kind" text, checked text, rough text,
    CONSTRAINT tasks_checked CHECK (checked IS NOT NULL));
  ALTER TABLE tasks ADD CONSTRAINT tasks_rough CHECK (rough IS NOT NULL) NOT VALID;
  ALTER TABLE tasks ADD CONSTRAINT tasks_amount CHECK (amount > 0) NOT VALID;
  CREATE INDEX tasks_seen ON tasks (seen);
  CREATE UNIQUE INDEX people_email ON people (email);
  CREATE TABLE events (id bigint, at timestamptz) PARTITION BY RANGE (at);
  CREATE TABLE events_old (id bigint, at timestamptz);
  CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
  CREATE TABLE quiet (id bigint PRIMARY KEY, title text, done boolean);
  CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM quiet;
  CREATE UNIQUE INDEX totals_n ON totals (n);
  CREATE VIEW open_tasks AS SELECT id, title FROM quiet WHERE NOT done;
  CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
  CREATE SEQUENCE numbers;
  CREATE SCHEMA extra;
`;

/** Rows that satisfy what the cases add to them. */
export const ROWS = `
  INSERT INTO people (id, email, name) SELECT n, 'p' || n, 'P' || n FROM generate_series(1, 3) AS n;
  INSERT INTO tasks (id, title, code, amount, due, seen, done, owner_id, state, "Kind", checked, rough)
    SELECT n, 't' || n, 'c' || n, n, now(), now(), true, n, 'calm', 'k', 'c', 'r' FROM generate_series(1, 3) AS n;
`;

export interface Case {
  sql: string;
  /** Rules that are broken, on servers of 15 and of 18; the same unless `on18` says otherwise. */
  rules: string[];
  on18?: string[];
  more?: Pick<LintMigration, 'phase' | 'transactional' | 'allow' | 'backfill'>;
  /** The SQLSTATE with which PostgreSQL refuses it; `any` where that is not the point. */
  fails?: string;
  /** The remedy does not run by itself: it is a part of the whole, or has a gap to be filled. */
  pattern?: true;
}

const contract = { phase: 'contract' } as const;
const outside = { transactional: false } as const;

const REWRITES: Case[] = [
  { sql: 'ALTER TABLE tasks ADD COLUMN note text', rules: [] },
  { sql: 'ALTER TABLE tasks ADD COLUMN rank bigint NOT NULL DEFAULT 0', rules: [] },
  { sql: 'ALTER TABLE tasks ADD COLUMN made_at timestamptz NOT NULL DEFAULT now()', rules: [] },
  { sql: "ALTER TABLE tasks ADD COLUMN tags text[] DEFAULT '{}'::text[]", rules: [] },
  {
    sql: 'ALTER TABLE tasks ADD COLUMN key uuid DEFAULT gen_random_uuid()',
    rules: ['adding-field-with-default'],
  },
  {
    sql: 'ALTER TABLE tasks ADD COLUMN key uuid NOT NULL DEFAULT gen_random_uuid()',
    rules: ['adding-field-with-default'],
  },
  {
    sql: 'ALTER TABLE tasks ADD COLUMN at timestamptz DEFAULT clock_timestamp()',
    rules: ['adding-field-with-default'],
  },
  {
    sql: 'CREATE TABLE fresh (id bigint PRIMARY KEY);\nALTER TABLE fresh ADD COLUMN key uuid DEFAULT gen_random_uuid()',
    rules: [],
  },
  {
    sql: 'ALTER TABLE tasks ADD COLUMN number serial',
    rules: ['adding-field-with-default', 'prefer-identity'],
  },
  {
    sql: 'ALTER TABLE tasks ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY',
    rules: ['adding-field-with-default'],
  },
  {
    sql: 'ALTER TABLE tasks ADD COLUMN twice numeric GENERATED ALWAYS AS (amount * 2) STORED',
    rules: ['adding-field-with-default'],
  },
  {
    sql: 'ALTER TABLE tasks ADD COLUMN twice numeric GENERATED ALWAYS AS (amount * 2) VIRTUAL',
    rules: ['newer-syntax'],
    on18: [],
  },
  { sql: 'ALTER TABLE tasks ADD COLUMN size positive', rules: ['adding-field-with-default'] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN amount TYPE bigint', rules: ['changing-column-type'] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN id TYPE int', rules: ['changing-column-type'] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN code TYPE varchar(5)', rules: ['changing-column-type'] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN code TYPE varchar(20)', rules: [] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN code TYPE text', rules: [] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN code TYPE text USING upper(code)', rules: ['changing-column-type'] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN code TYPE text USING code::text', rules: [] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN amount TYPE numeric(12, 2)', rules: [] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN amount TYPE numeric(12, 4)', rules: ['changing-column-type'] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN amount TYPE numeric', rules: [] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN due TYPE timestamptz', rules: [] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN seen TYPE timestamptz', rules: ['changing-column-type'] },
  {
    sql: 'ALTER TABLE elsewhere ALTER COLUMN x TYPE text',
    rules: ['changing-column-type'],
    fails: 'any',
  },
  { sql: 'CLUSTER tasks USING tasks_pkey', rules: ['table-rewrite'] },
  { sql: 'VACUUM FULL tasks', rules: ['table-rewrite'], more: outside },
  { sql: 'VACUUM ANALYZE tasks', rules: [], more: outside },
  { sql: 'ALTER TABLE tasks SET UNLOGGED', rules: ['table-rewrite'] },
  { sql: 'ALTER TABLE tasks SET (fillfactor = 80)', rules: [] },
  { sql: 'REFRESH MATERIALIZED VIEW totals', rules: ['require-concurrent-refresh'] },
  { sql: 'REFRESH MATERIALIZED VIEW CONCURRENTLY totals', rules: [] },
  { sql: 'TRUNCATE tasks', rules: ['ban-truncate'] },
  { sql: 'TRUNCATE people CASCADE', rules: ['ban-truncate'] },
  { sql: 'CREATE TABLE fresh (id bigint);\nTRUNCATE fresh', rules: [] },
];

const CONSTRAINTS: Case[] = [
  {
    sql: 'ALTER TABLE tasks ADD COLUMN rank bigint NOT NULL',
    rules: ['adding-required-field'],
    fails: '23502',
  },
  { sql: 'ALTER TABLE tasks ALTER COLUMN title SET NOT NULL', rules: [] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN code SET NOT NULL', rules: ['adding-not-nullable-field'] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN "Kind" SET NOT NULL', rules: ['adding-not-nullable-field'] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN checked SET NOT NULL', rules: [] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN rough SET NOT NULL', rules: ['adding-not-nullable-field'] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN code DROP NOT NULL', rules: ['ban-drop-not-null'] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN title DROP NOT NULL', rules: [], more: contract },
  {
    sql: 'ALTER TABLE tasks ADD CONSTRAINT c NOT NULL code',
    rules: ['adding-not-nullable-field', 'newer-syntax'],
    on18: ['adding-not-nullable-field'],
  },
  { sql: 'ALTER TABLE tasks ADD CONSTRAINT c NOT NULL code NOT VALID', rules: ['newer-syntax'], on18: [] },
  { sql: 'ALTER TABLE tasks ADD CONSTRAINT c CHECK (amount >= 0)', rules: ['constraint-missing-not-valid'] },
  { sql: 'ALTER TABLE tasks ADD CHECK (amount >= 0)', rules: ['constraint-missing-not-valid'] },
  { sql: 'ALTER TABLE tasks ADD CONSTRAINT c CHECK (amount >= 0) NOT VALID', rules: [] },
  { sql: 'ALTER TABLE tasks ADD COLUMN rank int CHECK (rank > 0)', rules: ['constraint-missing-not-valid'] },
  {
    sql: 'ALTER DOMAIN positive ADD CONSTRAINT small CHECK (value < 10)',
    rules: ['constraint-missing-not-valid'],
  },
  { sql: 'ALTER DOMAIN positive ADD CONSTRAINT small CHECK (value < 10) NOT VALID', rules: [] },
  {
    sql: 'ALTER TABLE tasks ADD CONSTRAINT f FOREIGN KEY (owner_id) REFERENCES people (id)',
    rules: ['adding-foreign-key-constraint'],
  },
  {
    sql: 'ALTER TABLE tasks ADD CONSTRAINT f FOREIGN KEY (owner_id) REFERENCES people (id) NOT VALID',
    rules: [],
  },
  {
    sql: 'ALTER TABLE tasks ADD COLUMN boss_id bigint REFERENCES people (id) ON DELETE SET NULL',
    rules: ['adding-foreign-key-constraint'],
  },
  { sql: 'CREATE TABLE notes (id bigint PRIMARY KEY, task_id bigint REFERENCES tasks (id))', rules: [] },
  { sql: 'ALTER TABLE tasks VALIDATE CONSTRAINT tasks_amount', rules: [] },
  {
    sql: 'ALTER TABLE tasks ADD CONSTRAINT c CHECK (amount >= 0) NOT VALID;\nALTER TABLE tasks VALIDATE CONSTRAINT c',
    rules: ['validate-in-same-transaction'],
    pattern: true,
  },
  { sql: 'ALTER TABLE tasks ADD CONSTRAINT u UNIQUE (title)', rules: ['disallowed-unique-constraint'] },
  {
    sql: 'ALTER TABLE tasks ADD UNIQUE NULLS NOT DISTINCT (title) INCLUDE (code) DEFERRABLE',
    rules: ['disallowed-unique-constraint'],
  },
  { sql: 'ALTER TABLE people ADD CONSTRAINT u UNIQUE USING INDEX people_email', rules: [] },
  { sql: 'ALTER TABLE events_old ADD PRIMARY KEY (id)', rules: ['disallowed-unique-constraint'] },
  {
    sql: 'ALTER TABLE people DROP CONSTRAINT people_pkey;\nALTER TABLE people ADD PRIMARY KEY USING INDEX people_email',
    rules: ['adding-not-nullable-field'],
  },
  { sql: 'ALTER TABLE tasks ADD COLUMN slug text UNIQUE', rules: ['disallowed-unique-constraint'] },
  {
    sql: 'ALTER TABLE tasks ADD EXCLUDE USING gist (int8range(id, id + 1) WITH &&)',
    rules: ['exclusion-constraint'],
  },
  {
    sql: 'ALTER TABLE tasks ADD CONSTRAINT c CHECK (amount >= 0) NOT ENFORCED',
    rules: ['newer-syntax'],
    on18: [],
  },
];

const INDEXES: Case[] = [
  { sql: 'CREATE INDEX i ON tasks (title)', rules: ['require-concurrent-index-creation'] },
  { sql: 'CREATE UNIQUE INDEX ON tasks (title)', rules: ['require-concurrent-index-creation'] },
  { sql: 'CREATE INDEX i ON public.tasks (title)', rules: ['require-concurrent-index-creation'] },
  { sql: 'CREATE INDEX CONCURRENTLY i ON tasks (title)', rules: [], more: outside },
  {
    sql: 'CREATE INDEX CONCURRENTLY i ON tasks (title)',
    rules: ['ban-concurrent-index-creation-in-transaction'],
    fails: 'any',
  },
  { sql: 'CREATE TABLE fresh (id bigint);\nCREATE INDEX i ON fresh (id)', rules: [] },
  { sql: 'CREATE INDEX i ON ONLY events (id)', rules: [] },
  { sql: 'CREATE INDEX i ON events (id)', rules: ['require-concurrent-index-creation'] },
  {
    sql: 'CREATE INDEX CONCURRENTLY i ON tasks (id, title, code, due)',
    rules: ['wide-index'],
    more: outside,
  },
  { sql: 'DROP INDEX tasks_seen', rules: ['require-concurrent-index-deletion'] },
  { sql: 'DROP INDEX CONCURRENTLY tasks_seen', rules: [], more: outside },
  { sql: 'REINDEX INDEX tasks_seen', rules: ['require-concurrent-reindex'] },
  { sql: 'REINDEX TABLE tasks', rules: ['require-concurrent-reindex'] },
  { sql: 'REINDEX TABLE CONCURRENTLY tasks', rules: [], more: outside },
  {
    sql: "ALTER TABLE events ATTACH PARTITION events_old FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    rules: ['attach-partition'],
  },
  {
    sql: "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
    rules: [],
  },
  { sql: 'ALTER TABLE events DETACH PARTITION events_1', rules: [] },
  { sql: 'ALTER TABLE events DETACH PARTITION events_1;\nSELECT 1', rules: ['detach-partition'] },
];

const BREAKING: Case[] = [
  { sql: 'ALTER TABLE tasks DROP COLUMN code', rules: ['ban-drop-column'] },
  { sql: 'ALTER TABLE tasks DROP COLUMN code', rules: [], more: contract },
  { sql: 'ALTER TABLE tasks DROP COLUMN code CASCADE', rules: ['drop-cascade'], more: contract },
  { sql: 'ALTER TABLE tasks ADD COLUMN x text;\nALTER TABLE tasks DROP COLUMN x', rules: [] },
  { sql: 'DROP TABLE tasks', rules: ['ban-drop-table'] },
  { sql: 'DROP TABLE IF EXISTS tasks, people', rules: ['ban-drop-table'] },
  { sql: 'DROP TABLE tasks', rules: [], more: contract },
  { sql: 'CREATE TEMP TABLE scratch (id bigint);\nDROP TABLE scratch', rules: [] },
  { sql: 'DROP VIEW open_tasks', rules: ['ban-drop-object'] },
  { sql: 'DROP VIEW open_tasks;\nCREATE VIEW open_tasks AS SELECT id FROM quiet', rules: [] },
  { sql: 'DROP FUNCTION touch()', rules: ['ban-drop-object'] },
  { sql: 'DROP TYPE mood CASCADE', rules: ['ban-drop-object', 'drop-cascade'] },
  { sql: 'DROP SCHEMA extra', rules: ['ban-drop-object'] },
  { sql: 'ALTER TABLE tasks RENAME COLUMN title TO name', rules: ['renaming-column'] },
  { sql: 'ALTER TABLE tasks RENAME COLUMN title TO name', rules: [], more: contract },
  { sql: 'ALTER TABLE tasks RENAME TO jobs', rules: ['renaming-table'] },
  { sql: 'ALTER TABLE tasks RENAME TO jobs;\nCREATE VIEW tasks AS SELECT * FROM jobs', rules: [] },
  { sql: 'ALTER TABLE tasks SET SCHEMA extra', rules: ['renaming-table'] },
  { sql: 'ALTER TABLE tasks RENAME CONSTRAINT tasks_pkey TO tasks_key', rules: [] },
  { sql: 'ALTER INDEX tasks_seen RENAME TO tasks_last_seen', rules: [] },
  { sql: 'ALTER VIEW open_tasks RENAME TO undone', rules: ['renaming-object'] },
  { sql: "ALTER TYPE mood RENAME VALUE 'glad' TO 'happy'", rules: ['renaming-object'] },
  { sql: 'ALTER SCHEMA extra RENAME TO more', rules: ['renaming-object'] },
  { sql: 'ALTER TABLE tasks DROP CONSTRAINT tasks_checked', rules: [] },
  { sql: 'ALTER TABLE tasks ALTER COLUMN done SET DEFAULT false', rules: [] },
];

const DATA: Case[] = [
  { sql: 'UPDATE tasks SET done = false', rules: ['dml-without-where'] },
  { sql: 'UPDATE tasks SET done = false WHERE true', rules: ['dml-without-where'] },
  { sql: 'DELETE FROM tasks', rules: ['dml-without-where'] },
  {
    sql: 'UPDATE tasks SET rough = code WHERE rough IS NULL',
    rules: [],
    more: { transactional: false, backfill: { table: 'tasks', key: ['id'] } },
  },
  { sql: 'UPDATE tasks SET done = false WHERE done IS NULL', rules: ['dml-without-bound'] },
  {
    sql: 'UPDATE tasks SET title = p.name FROM people p WHERE p.id = tasks.owner_id',
    rules: ['dml-without-bound'],
  },
  { sql: "UPDATE tasks SET done = true WHERE code = 'x'", rules: [] },
  { sql: 'UPDATE tasks SET done = true WHERE id > 1000 AND id <= 2000', rules: [] },
  { sql: 'DELETE FROM tasks WHERE id IN (1, 2)', rules: [] },
  { sql: 'DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE done LIMIT 100)', rules: [] },
  {
    sql: 'WITH gone AS (DELETE FROM tasks WHERE done RETURNING id) SELECT count(*) FROM gone',
    rules: ['dml-without-bound'],
  },
  { sql: "INSERT INTO people (id, name) VALUES (9, 'a')", rules: [] },
  { sql: 'INSERT INTO people (id, name) SELECT id + 9, title FROM tasks', rules: ['dml-without-bound'] },
  { sql: 'CREATE TABLE fresh (id bigint);\nINSERT INTO fresh SELECT id FROM tasks', rules: [] },
  {
    sql: 'MERGE INTO tasks t USING people p ON p.id = t.id WHEN MATCHED THEN UPDATE SET title = p.name',
    rules: ['dml-without-bound'],
  },
  { sql: 'EXPLAIN DELETE FROM tasks', rules: [] },
  { sql: 'CREATE FUNCTION purge() RETURNS void LANGUAGE sql AS $$ DELETE FROM tasks $$', rules: [] },
  {
    sql: 'ALTER TABLE tasks ADD COLUMN x text;\nUPDATE tasks SET x = code WHERE id = 1',
    rules: ['dml-beside-ddl'],
  },
  {
    sql: "UPDATE tasks SET code = 'x' WHERE id = 1;\nALTER TABLE tasks ADD COLUMN x text",
    rules: ['dml-beside-ddl'],
  },
  { sql: "CREATE TABLE fresh (id bigint);\nUPDATE tasks SET code = 'x' WHERE id = 1", rules: [] },
  { sql: 'CREATE TRIGGER t BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION touch()', rules: [] },
];

const TRANSACTIONS: Case[] = [
  {
    sql: 'BEGIN;\nSELECT 1;\nCOMMIT',
    rules: ['transaction-nesting', 'transaction-nesting'],
    fails: 'any',
  },
  { sql: 'DO $$ BEGIN PERFORM 1; COMMIT; END $$', rules: ['transaction-nesting'], fails: 'any' },
  { sql: 'SET ROLE postgres', rules: ['forbidden-statement', 'session-setting'], fails: 'any' },
  { sql: 'DROP DATABASE x', rules: ['forbidden-statement'], fails: 'any' },
  { sql: 'COPY tasks FROM STDIN', rules: ['forbidden-statement'], fails: 'any' },
  { sql: 'SELCT 1', rules: ['syntax-error'], fails: 'any' },
  { sql: '\\d tasks', rules: ['syntax-error'], fails: 'any' },
  {
    sql: 'CREATE INDEX CONCURRENTLY i ON tasks (title);\nALTER TABLE tasks ADD COLUMN x text',
    rules: ['mixed-non-transactional'],
    more: outside,
  },
  { sql: "SET lock_timeout = '10s'", rules: ['own-timeout'] },
  { sql: 'SET LOCAL statement_timeout = 0', rules: ['own-timeout'] },
  { sql: "SELECT set_config('lock_timeout', '0', true)", rules: ['own-timeout'] },
  { sql: 'SET search_path = extra', rules: ['session-setting'] },
  { sql: 'SET LOCAL search_path = extra', rules: [] },
  { sql: 'LOCK TABLE tasks', rules: ['explicit-lock'] },
  { sql: 'LOCK TABLE tasks IN ROW SHARE MODE', rules: [] },
  { sql: "ALTER TYPE mood ADD VALUE 'sad'", rules: [] },
  {
    sql: "ALTER TYPE mood ADD VALUE 'sad';\nALTER TABLE tasks ALTER COLUMN state SET DEFAULT 'sad'",
    rules: ['enum-value-in-own-transaction'],
    fails: 'any',
  },
  {
    sql: "CREATE TYPE size AS ENUM ('s');\nALTER TYPE size ADD VALUE 'm';\nCREATE TABLE shirts (size size DEFAULT 'm')",
    rules: ['enum-value-in-own-transaction'],
    on18: [],
  },
  {
    sql: "DO $$ BEGIN EXECUTE format('DROP TABLE %I', 'x'); END $$",
    rules: ['dynamic-sql'],
    fails: 'any',
  },
  { sql: 'DO $$ BEGIN {{ template }} END $$', rules: ['dynamic-sql'], fails: 'any' },
  { sql: 'DO LANGUAGE plperl $$ 1 $$', rules: ['dynamic-sql'], fails: 'any' },
  { sql: "DO $$ BEGIN EXECUTE 'DROP TABLE tasks'; END $$", rules: ['ban-drop-table'] },
  {
    sql: 'DO $$\nBEGIN\n  IF true THEN\n    CREATE INDEX i ON tasks (title);\n  END IF;\nEND $$',
    rules: ['require-concurrent-index-creation'],
  },
  { sql: 'SELECT uuidv7()', rules: ['newer-syntax'], on18: [] },
  {
    sql: "SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (a int PATH '$')) AS j",
    rules: ['newer-syntax'],
    on18: [],
  },
  {
    sql: 'ALTER TABLE tasks DROP COLUMN code',
    rules: ['ban-drop-column'],
    more: { allow: [{ rule: 'ban-drop-column', reason: 'nobody reads it' }] },
  },
  {
    sql: 'SELECT 1',
    rules: ['unused-allow'],
    more: { allow: [{ rule: 'ban-drop-column', reason: 'nobody reads it' }] },
  },
];

const STYLE: Case[] = [
  { sql: 'CREATE TABLE fresh (id bigint PRIMARY KEY, body jsonb, name text, at timestamptz)', rules: [] },
  { sql: 'CREATE TABLE fresh (body json)', rules: ['prefer-jsonb'] },
  { sql: 'CREATE TABLE fresh (name varchar(20))', rules: ['prefer-text-field'] },
  { sql: 'CREATE TABLE fresh (name varchar)', rules: [] },
  { sql: 'CREATE TABLE fresh (code char(3))', rules: ['ban-char-field'] },
  { sql: 'CREATE TABLE fresh (at timestamp)', rules: ['prefer-timestamp-tz'] },
  { sql: 'CREATE TABLE fresh (id int PRIMARY KEY)', rules: ['prefer-bigint-over-int'] },
  { sql: 'CREATE TABLE fresh (id int, n int, PRIMARY KEY (id))', rules: ['prefer-bigint-over-int'] },
  { sql: 'CREATE TABLE fresh (n int)', rules: [] },
  { sql: 'CREATE TABLE fresh (id bigserial PRIMARY KEY)', rules: ['prefer-identity'] },
  { sql: 'CREATE DOMAIN tiny AS int CHECK (value < 10)', rules: ['ban-create-domain-with-constraint'] },
  { sql: 'CREATE DOMAIN tiny AS int', rules: [] },
];

export const CASES: Case[] = [
  ...REWRITES,
  ...CONSTRAINTS,
  ...INDEXES,
  ...BREAKING,
  ...DATA,
  ...TRANSACTIONS,
  ...REACH,
  ...STYLE,
];
