import type { Case } from './cases.ts';

/** Of what reaches beyond the tenant's own schema. */
export const REACH: Case[] = [
  { sql: 'CREATE ROLE reader', rules: ['forbidden-statement'], fails: 'any' },
  { sql: "ALTER ROLE postgres PASSWORD 'x'", rules: ['forbidden-statement'], fails: 'any' },
  { sql: 'GRANT pg_monitor TO CURRENT_USER', rules: ['forbidden-statement'], fails: 'any' },
  { sql: "COPY tasks FROM '/tmp/tasks'", rules: ['forbidden-statement'], fails: 'any' },
  { sql: "COPY tasks TO PROGRAM 'cat'", rules: ['forbidden-statement'], fails: 'any' },
  {
    sql: 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity',
    rules: ['server-call'],
    fails: 'any',
  },
  { sql: 'DO $$ BEGIN PERFORM pg_cancel_backend(1); END $$', rules: ['server-call'], fails: 'any' },
  { sql: 'SELECT pg_advisory_lock(1)', rules: ['server-call'], fails: 'any' },
  { sql: 'SELECT pg_advisory_xact_lock(1)', rules: [] },
  {
    sql: 'CREATE FUNCTION hold() RETURNS void LANGUAGE sql AS $$ SELECT pg_advisory_lock(1) $$',
    rules: [],
  },
  { sql: 'DELETE FROM fleet.migrations', rules: ['fleet-record'], fails: 'any' },
  { sql: "UPDATE fleet.migrations SET name = 'x' WHERE name = 'y'", rules: ['fleet-record'], fails: 'any' },
  { sql: "INSERT INTO fleet.migrations (name) VALUES ('x')", rules: ['fleet-record'], fails: 'any' },
  { sql: 'TRUNCATE fleet.progress', rules: ['ban-truncate', 'fleet-record'], fails: 'any' },
  { sql: 'ALTER TABLE fleet.progress ADD COLUMN x text', rules: ['fleet-record'], fails: 'any' },
  { sql: 'DELETE FROM pgmigrations WHERE id = 1', rules: ['forbidden-statement'], fails: 'any' },
  { sql: 'CREATE EXTENSION dblink', rules: ['untrusted-extension'], fails: 'any' },
  { sql: 'CREATE EXTENSION IF NOT EXISTS pgcrypto', rules: [], fails: 'any' },
  { sql: 'GRANT SELECT ON tasks TO PUBLIC', rules: ['grant-to-public'] },
  { sql: 'REVOKE ALL ON tasks FROM PUBLIC', rules: [] },
];
