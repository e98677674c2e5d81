-- Up Migration
-- Backfills: migrations that are run range by range, how far each target is, and who holds them.

-- {table, key, batch, verify}; null for every other migration.
ALTER TABLE migrations ADD COLUMN backfill jsonb;

-- {migration, rowsDone, rowsEstimated, heldMs, rate, etaSeconds, reason, quarantined, at} of the last backfill that ran.
ALTER TABLE rollout_targets ADD COLUMN progress jsonb;

-- Operators' switches that are off. At most one for the fleet, each server and each tenant.
CREATE TABLE backfill_switches (
  server_id  uuid REFERENCES servers (id),
  tenant_id  uuid REFERENCES tenants (id),
  reason     text NOT NULL,
  held_by    text NOT NULL,
  since      timestamptz NOT NULL DEFAULT now(),
  UNIQUE NULLS NOT DISTINCT (server_id, tenant_id),
  CHECK (server_id IS NULL OR tenant_id IS NULL)
);

-- Down Migration
DROP TABLE backfill_switches;
ALTER TABLE rollout_targets DROP COLUMN progress;
ALTER TABLE migrations DROP COLUMN backfill;
