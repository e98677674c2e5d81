-- Up Migration
-- The way of a deleted owner's key: until its retention is over it can be kept, afterwards it is gone.

ALTER TABLE owner_destructions
  -- What people call the owner.
  ADD COLUMN name text,
  ADD COLUMN retention_days integer NOT NULL DEFAULT 30 CHECK (retention_days BETWEEN 7 AND 30),
  -- requested and keeping: the store has to be told.
  ADD COLUMN state text NOT NULL DEFAULT 'requested'
    CHECK (state IN ('requested', 'scheduled', 'keeping', 'kept', 'destroyed')),
  ADD COLUMN destroyed_at timestamptz;
UPDATE owner_destructions SET state = 'scheduled' WHERE key_gone_at IS NOT NULL;
CREATE INDEX owner_destructions_open ON owner_destructions (state, key_gone_at)
  WHERE state IN ('requested', 'scheduled', 'keeping');

-- Down Migration
DROP INDEX owner_destructions_open;
ALTER TABLE owner_destructions DROP COLUMN name, DROP COLUMN retention_days, DROP COLUMN state,
  DROP COLUMN destroyed_at;
