-- Up Migration
-- Rotation runs: the credentials of many tenants rotated one after the other, each by an operation of its own.

CREATE TABLE rotation_runs (
  id          uuid PRIMARY KEY,
  state       text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  -- Which tenants: {region, tier, server, tenants, labels}; all conditions hold.
  match       jsonb NOT NULL,
  -- Regions of whoever asked; null = all.
  regions     text[],
  -- Begun by the policy of the tiers; it makes way for one that a person asks for.
  scheduled   boolean NOT NULL,
  -- Whether old logins are closed at once.
  now         boolean NOT NULL,
  parallel    integer NOT NULL CHECK (parallel > 0),
  per_server  integer NOT NULL CHECK (per_server > 0),
  reason      text,
  -- {principalId, name, role, regions}: in whose name its operations are started.
  caller      jsonb NOT NULL,
  request_id  text,
  -- {code, message} of what asked it to stop.
  stop        jsonb,
  error       jsonb,
  created_at  timestamptz NOT NULL DEFAULT now(),
  started_at  timestamptz,
  finished_at timestamptz,
  CONSTRAINT rotation_runs_finished_at
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
);
-- One that was asked to stop begins nothing more: it keeps nobody out.
CREATE UNIQUE INDEX rotation_runs_one_open ON rotation_runs (scheduled)
  WHERE state IN ('queued', 'running') AND stop IS NULL;
CREATE INDEX rotation_runs_created ON rotation_runs (created_at, id);

CREATE TABLE rotation_targets (
  run_id       uuid NOT NULL REFERENCES rotation_runs (id) ON DELETE CASCADE,
  tenant_id    uuid NOT NULL REFERENCES tenants (id),
  ordinal      integer NOT NULL,
  state        text NOT NULL CHECK (state IN ('pending', 'running', 'rotated', 'failed', 'deferred', 'skipped')),
  -- The rotation that was started for it, or joined.
  operation_id uuid REFERENCES operations (id),
  -- Why it is deferred or skipped.
  reason       text,
  error        jsonb,
  -- Of a deferred one: when it is looked at again; null: not in this run.
  not_before   timestamptz,
  started_at   timestamptz,
  finished_at  timestamptz,
  PRIMARY KEY (run_id, tenant_id)
);
CREATE INDEX rotation_targets_order ON rotation_targets (run_id, state, ordinal);
-- The sweeper looks for them again and again.
CREATE INDEX rotation_targets_running ON rotation_targets (operation_id) WHERE state = 'running';

-- Down Migration
DROP TABLE rotation_targets, rotation_runs;
