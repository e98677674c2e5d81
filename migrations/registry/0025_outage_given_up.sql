-- Up Migration
-- A server is given up by a try that has failed, not by time alone: a person's pause counts for nothing.
ALTER TABLE rollout_outages ADD COLUMN given_up_at timestamptz;

-- Down Migration
ALTER TABLE rollout_outages DROP COLUMN given_up_at;
