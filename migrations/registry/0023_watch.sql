-- Up Migration
-- Watching rollouts: every change of state in the order in which it happened, and what targets are at.

CREATE TABLE rollout_changes (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  rollout_id uuid NOT NULL REFERENCES rollouts (id),
  -- Ordinal of the wave; null: the rollout itself.
  wave       integer,
  was        text NOT NULL,
  state      text NOT NULL,
  -- As it is stored with the rollout.
  cause      jsonb,
  at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX rollout_changes_order ON rollout_changes (rollout_id, id);
CREATE INDEX rollout_changes_halts ON rollout_changes ((cause ->> 'code')) WHERE state = 'halted';

-- Triggers, since a change that nobody remembered to write down would be lost to those who follow the stream. Both
-- run with the rollout's row locked: the numbers of one rollout are given in the order of its commits.
CREATE FUNCTION rollout_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO rollout_changes (rollout_id, was, state, cause) VALUES (NEW.id, OLD.state, NEW.state, NEW.cause);
  RETURN NULL;
END
$$;
CREATE TRIGGER rollouts_changed AFTER UPDATE OF state ON rollouts
  FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION rollout_changed();

CREATE FUNCTION rollout_wave_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO rollout_changes (rollout_id, wave, was, state)
  VALUES (NEW.rollout_id, NEW.ordinal, OLD.state, NEW.state);
  RETURN NULL;
END
$$;
CREATE TRIGGER rollout_waves_changed AFTER UPDATE OF state ON rollout_waves
  FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION rollout_wave_changed();

-- {migration, since}: what a target in flight is at, written only where one takes more than a moment.
ALTER TABLE rollout_targets ADD COLUMN step jsonb;

-- Down Migration
ALTER TABLE rollout_targets DROP COLUMN step;
DROP TRIGGER rollout_waves_changed ON rollout_waves;
DROP TRIGGER rollouts_changed ON rollouts;
DROP FUNCTION rollout_wave_changed(), rollout_changed();
DROP TABLE rollout_changes;
