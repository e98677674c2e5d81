-- Up Migration
-- Waits that outlive processes, and what RDS instances the fleet's servers are.

ALTER TABLE operations
  -- What the step in hand waits for, since its first look; null: it waits for nothing.
  ADD COLUMN waiting_for text,
  ADD COLUMN waiting_since timestamptz,
  -- When somebody looks again.
  ADD COLUMN look_at timestamptz,
  ADD CONSTRAINT operations_waiting CHECK (
    (waiting_for IS NULL) = (waiting_since IS NULL) AND (waiting_for IS NULL) = (look_at IS NULL)
    AND (waiting_for IS NULL OR state = 'running'));

-- Down Migration
ALTER TABLE operations DROP COLUMN waiting_for, DROP COLUMN waiting_since, DROP COLUMN look_at;
