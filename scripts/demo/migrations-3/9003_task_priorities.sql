-- Up Migration
ALTER TABLE tasks ADD COLUMN priority integer NOT NULL DEFAULT 0;
-- As slow as rewriting a real table, so that there is something to interrupt.
SELECT pg_sleep(0.5);

-- Down Migration
ALTER TABLE tasks DROP COLUMN priority;
