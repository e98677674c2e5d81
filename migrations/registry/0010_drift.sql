-- Up Migration
-- Drift: how the schema of a tenant's database differs from what its migrations make.

-- What the published migrations make of an empty database; a cache that may be emptied at any time.
CREATE TABLE schema_references (
  -- Chain over the checksums of all migrations up to the version.
  checksum     text NOT NULL,
  server_major integer NOT NULL,
  -- Of the description (SCHEMA_FORMAT): another program may describe in another way.
  format       integer NOT NULL,
  fingerprint  text NOT NULL,
  description  text NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (checksum, server_major, format)
);

-- The last look at each database.
CREATE TABLE database_drift (
  database_id         uuid PRIMARY KEY REFERENCES databases (id) ON DELETE CASCADE,
  schema_version      text,
  fingerprint         text NOT NULL,
  expected            text NOT NULL,
  -- Null: as it should be. Of the difference alone, so that it is known again at a later version.
  difference          text,
  diff                text NOT NULL,
  changes             jsonb NOT NULL,
  -- Of the first look that found it to differ, without one in between that did not.
  since               timestamptz,
  checked_at          timestamptz NOT NULL,
  accepted_difference text,
  accepted_by         text,
  accepted_reason     text,
  accepted_at         timestamptz,
  CONSTRAINT database_drift_since CHECK ((difference IS NULL) = (since IS NULL)),
  CONSTRAINT database_drift_accepted CHECK (num_nulls(accepted_difference, accepted_by, accepted_reason, accepted_at) IN (0, 4))
);
CREATE INDEX database_drift_differing ON database_drift (database_id) WHERE difference IS NOT NULL;

CREATE TABLE drift_checks (
  id          uuid PRIMARY KEY,
  state       text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed')),
  -- Which tenants: {region, tier, server, tenants, labels}; all conditions hold.
  match       jsonb NOT NULL,
  -- Regions that the check may look into; null = all.
  regions     text[],
  counts      jsonb NOT NULL DEFAULT '{}',
  -- [{tenant, region, error}] of databases that could not be looked at.
  unread      jsonb NOT NULL DEFAULT '[]',
  error       jsonb,
  actor       text NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  started_at  timestamptz,
  finished_at timestamptz,
  CONSTRAINT drift_checks_finished_at CHECK ((state IN ('succeeded', 'failed')) = (finished_at IS NOT NULL))
);
CREATE INDEX drift_checks_open ON drift_checks (created_at) WHERE state IN ('queued', 'running');
CREATE INDEX drift_checks_created ON drift_checks (created_at);

-- Down Migration
DROP TABLE drift_checks, database_drift, schema_references;
