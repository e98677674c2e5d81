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

-- What the fleet knows of a server that is an instance on RDS.
CREATE TABLE rds_instances (
  server_id  uuid PRIMARY KEY REFERENCES servers (id) ON DELETE CASCADE,
  -- What RDS calls it; unique in a region of an account.
  identifier text NOT NULL,
  -- Class, storage, network and so on as they shall be: drift is what RDS has otherwise.
  spec       jsonb NOT NULL,
  -- Made by somebody else: never deleted by the fleet.
  adopted    boolean NOT NULL DEFAULT false,
  -- Made with this tenant: stops, starts and goes with it.
  tenant_id  uuid,
  -- Stopped on purpose, since its only tenant is suspended: that it does not answer is no fault.
  stopped    boolean NOT NULL DEFAULT false,
  -- What differed when it was last compared; null: it was not yet.
  drift      jsonb,
  checked_at timestamptz
);

-- Down Migration
DROP TABLE rds_instances;
ALTER TABLE operations DROP COLUMN waiting_for, DROP COLUMN waiting_since, DROP COLUMN look_at;
