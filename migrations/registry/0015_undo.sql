-- Up Migration
-- Undo: a rollout that takes back, in reverse order, what another one has changed. And what each target took.

ALTER TABLE rollouts
  -- Given for an undo: the rollout whose targets it takes back.
  ADD COLUMN undo_of          uuid REFERENCES rollouts (id),
  -- What new tenants were born at until this rollout succeeded; an undo goes back to it.
  ADD COLUMN previous_release text REFERENCES releases (name);
CREATE INDEX rollouts_undo_of ON rollouts (undo_of) WHERE undo_of IS NOT NULL;
-- While its undo is under way, that one is the active rollout.
DROP INDEX rollouts_one_active;
CREATE UNIQUE INDEX rollouts_one_active ON rollouts ((true))
  WHERE state IN ('awaiting_approval', 'running', 'paused', 'halted');

ALTER TABLE rollout_targets
  -- Of the last run, in milliseconds: until the try that got its locks.
  ADD COLUMN lock_wait_ms  integer,
  ADD COLUMN rows_affected bigint,
  -- [{name, durationMs, lockWaitMs, rows, statements?}] of all runs, in the order in which they ended.
  ADD COLUMN applied       jsonb;

-- Down Migration
ALTER TABLE rollout_targets DROP COLUMN lock_wait_ms, DROP COLUMN rows_affected, DROP COLUMN applied;
DROP INDEX rollouts_one_active;
CREATE UNIQUE INDEX rollouts_one_active ON rollouts ((true))
  WHERE state IN ('awaiting_approval', 'running', 'paused', 'halted', 'undoing');
ALTER TABLE rollouts DROP COLUMN undo_of, DROP COLUMN previous_release;
