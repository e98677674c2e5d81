/** squawk's rules that ours answer under another name. */
export const SAME_VERDICT: Record<string, string[]> = {
  'adding-serial-primary-key-field': ['disallowed-unique-constraint'],
  'ban-alter-domain-with-add-constraint': ['constraint-missing-not-valid'],
  'ban-drop-database': ['forbidden-statement'],
  'ban-truncate-cascade': ['ban-truncate'],
  'constraint-missing-not-valid': [
    'adding-foreign-key-constraint',
    'adding-not-nullable-field',
    'disallowed-unique-constraint',
    'exclusion-constraint',
    'validate-in-same-transaction',
  ],
  'require-concurrent-partition-detach': ['detach-partition'],
};

/** squawk's rules that we do not have. */
export const WITHOUT: Record<string, string> = {
  'prefer-robust-stmts':
    'a migration runs once per database and leaves nothing behind when it fails; IF NOT EXISTS would take what has drifted for what was meant',
  'require-enum-value-ordering': 'an order of enum values is a choice, not a danger',
  'require-lock-timeout':
    'the fleet sets it for every migration; a migration that sets its own is what we refuse',
  'require-statement-timeout': 'the fleet sets it for every migration',
  'prefer-bigint-over-int': 'we say it of primary keys only: other numbers have bounds of their own',
};

const NEW_TABLE = 'it does not see that the table is new';
const KEEPS_ROWS = 'we know the type the column had, and PostgreSQL keeps the rows; squawk cannot know';
const CONTRACT = 'it knows no phases: this is the contract phase';

/** Statements of the table on which squawk finds what we do not, and why we do not. */
export const DIFFERENT: Record<string, string> = {
  'CREATE TABLE fresh (id bigint PRIMARY KEY);\nALTER TABLE fresh ADD COLUMN key uuid DEFAULT gen_random_uuid()':
    NEW_TABLE,
  'ALTER TABLE tasks ADD COLUMN twice numeric GENERATED ALWAYS AS (amount * 2) VIRTUAL':
    'a virtual column is computed when it is read; on servers that lack it we refuse the syntax',
  'ALTER TABLE tasks ALTER COLUMN code TYPE varchar(5)':
    'it finds the type change too; a length on a column that has one already is no new habit',
  'ALTER TABLE tasks ALTER COLUMN code TYPE varchar(20)': KEEPS_ROWS,
  'ALTER TABLE tasks ALTER COLUMN code TYPE text': KEEPS_ROWS,
  'ALTER TABLE tasks ALTER COLUMN code TYPE text USING code::text': KEEPS_ROWS,
  'ALTER TABLE tasks ALTER COLUMN amount TYPE numeric(12, 2)': KEEPS_ROWS,
  'ALTER TABLE tasks ALTER COLUMN amount TYPE numeric': KEEPS_ROWS,
  'ALTER TABLE tasks ALTER COLUMN due TYPE timestamptz': KEEPS_ROWS,
  'ALTER TABLE tasks ALTER COLUMN title SET NOT NULL': 'the column is NOT NULL already',
  'ALTER TABLE tasks ALTER COLUMN checked SET NOT NULL':
    'an earlier migration made a validated CHECK, which PostgreSQL takes for the proof',
  'ALTER TABLE tasks ALTER COLUMN title DROP NOT NULL': CONTRACT,
  'ALTER DOMAIN positive ADD CONSTRAINT small CHECK (value < 10) NOT VALID': 'NOT VALID reads no table',
  'ALTER TABLE tasks ADD CONSTRAINT c CHECK (amount >= 0) NOT ENFORCED':
    'what is not enforced reads no row; on servers that lack it we refuse the syntax',
  'CREATE INDEX i ON ONLY events (id)': 'on a partitioned table this makes an entry and builds nothing',
  'ALTER TABLE events DETACH PARTITION events_1':
    'CONCURRENTLY cannot be repeated after a crash; alone in its migration the lock is short',
  'ALTER TABLE tasks DROP COLUMN code': CONTRACT,
  'ALTER TABLE tasks DROP COLUMN code CASCADE': CONTRACT,
  'ALTER TABLE tasks ADD COLUMN x text;\nALTER TABLE tasks DROP COLUMN x': 'nobody knows the column yet',
  'DROP TABLE tasks': CONTRACT,
  'CREATE TEMP TABLE scratch (id bigint);\nDROP TABLE scratch': NEW_TABLE,
  'ALTER TABLE tasks RENAME COLUMN title TO name': CONTRACT,
  'ALTER TABLE tasks RENAME TO jobs;\nCREATE VIEW tasks AS SELECT * FROM jobs':
    'a view of the old name stands in for the table',
};
