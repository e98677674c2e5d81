-- Up Migration
-- Name of the migration that is half applied to the target's database since it ended; null for none, or nobody knows.
ALTER TABLE rollout_targets ADD COLUMN half_applied text;

-- Down Migration
ALTER TABLE rollout_targets DROP COLUMN half_applied;
