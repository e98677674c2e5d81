-- Up Migration

-- Milliseconds until the measurer was free again: it has missed nothing meanwhile.
ALTER TABLE rollout_measurements ADD COLUMN took_ms integer NOT NULL DEFAULT 0 CHECK (took_ms >= 0);

-- Down Migration

ALTER TABLE rollout_measurements DROP COLUMN took_ms;
