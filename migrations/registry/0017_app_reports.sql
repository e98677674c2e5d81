-- Up Migration
-- What tenant apps report: which of them run, in which version, and what their tenants got.

CREATE TABLE app_instances (
  id              uuid PRIMARY KEY,
  region          text NOT NULL REFERENCES regions (name),
  version         text NOT NULL,
  -- Migrations between which a tenant's schema has to stand; null: no bound.
  schema_min      text,
  schema_max      text,
  -- Of the last report that was counted.
  sequence        bigint NOT NULL,
  started_at      timestamptz NOT NULL DEFAULT now(),
  last_seen       timestamptz NOT NULL DEFAULT now(),
  -- It said that it ends.
  stopped_at      timestamptz,
  -- Minutes in which the control plane listened and heard nothing, and when it counted last.
  silent_minutes  integer NOT NULL DEFAULT 0,
  counted_at      timestamptz NOT NULL DEFAULT now()
);

-- Sums over all instances. No foreign key to databases: rows there are never deleted, and every minute of every
-- tenant would lock one.
CREATE TABLE app_traffic (
  database_id uuid NOT NULL,
  starts_at   timestamptz NOT NULL,
  ends_at     timestamptz NOT NULL,
  -- All that is counted here was over by then.
  reported_at timestamptz NOT NULL DEFAULT now(),
  errors      integer NOT NULL,
  -- Requests by bucket of contract/latency.ts.
  latency     integer[] NOT NULL,
  PRIMARY KEY (database_id, starts_at)
) WITH (fillfactor = 60);
CREATE INDEX app_traffic_starts ON app_traffic (starts_at);

ALTER TABLE migrations
  -- The app version that no running instance may be below when this migration runs.
  ADD COLUMN requires_app text;

-- Down Migration
ALTER TABLE migrations DROP COLUMN requires_app;
DROP TABLE app_traffic, app_instances;
