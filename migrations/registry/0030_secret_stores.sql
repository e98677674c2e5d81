-- Up Migration
-- Stores outside the registry are told of a version after the commit: what they know stands beside what is.

ALTER TABLE secret_versions
  -- The stage that a store outside the registry knows; null: it does not have the value yet. The local store
  -- keeps values in this database, in the same transaction, and leaves it null.
  ADD COLUMN settled_stage text CHECK (settled_stage IN ('pending', 'current', 'previous', 'retired'));
CREATE INDEX secret_versions_unsettled ON secret_versions (staged_at)
  WHERE settled_stage IS DISTINCT FROM stage;

-- Owners whose secrets and key a store outside the registry has to destroy.
CREATE TABLE owner_destructions (
  owner        text PRIMARY KEY,
  region       text NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT now(),
  -- When the key is gone for good; null: the store was not told yet.
  key_gone_at  timestamptz
);

-- Set: the key opens and seals nothing any more, and is deleted at this time unless that is cancelled.
ALTER TABLE data_keys ADD COLUMN destroy_at timestamptz;

-- Down Migration
ALTER TABLE data_keys DROP COLUMN destroy_at;
DROP TABLE owner_destructions;
ALTER TABLE secret_versions DROP COLUMN settled_stage;
