-- Up Migration
-- Rollouts: a stored plan of waves and targets, and the truth about each target.

CREATE TABLE rollouts (
  id           uuid PRIMARY KEY,
  release      text NOT NULL REFERENCES releases (name),
  state        text NOT NULL CHECK (state IN ('planned', 'awaiting_approval', 'running', 'paused', 'halted',
                 'succeeded', 'failed', 'aborted', 'undoing', 'undone')),
  -- {code, message, actor} of the present state where it needs words (halted, paused, aborted).
  cause        jsonb,
  spec         jsonb NOT NULL,
  author       text NOT NULL,
  version      integer NOT NULL DEFAULT 1,
  created_at   timestamptz NOT NULL DEFAULT now(),
  started_at   timestamptz,
  finished_at  timestamptz,
  CONSTRAINT rollouts_finished_at
    CHECK ((state IN ('succeeded', 'failed', 'aborted', 'undone')) = (finished_at IS NOT NULL))
);
-- One release line: one rollout at a time that is not over.
CREATE UNIQUE INDEX rollouts_one_active ON rollouts ((true))
  WHERE state IN ('awaiting_approval', 'running', 'paused', 'halted', 'undoing');
CREATE INDEX rollouts_created ON rollouts (created_at, id);

CREATE TABLE rollout_waves (
  rollout_id      uuid NOT NULL REFERENCES rollouts (id),
  ordinal         integer NOT NULL,
  name            text NOT NULL,
  state           text NOT NULL CHECK (state IN ('pending', 'running', 'baking', 'gating', 'passed', 'failed')),
  parallel        integer NOT NULL CHECK (parallel > 0),
  per_server      integer NOT NULL CHECK (per_server > 0),
  -- {failures: number | null, percent: number | null}
  budget          jsonb NOT NULL,
  bake_seconds    integer NOT NULL DEFAULT 0,
  bake_until      timestamptz,
  started_at      timestamptz,
  finished_at     timestamptz,
  PRIMARY KEY (rollout_id, ordinal),
  UNIQUE (rollout_id, name)
);

CREATE TABLE rollout_targets (
  rollout_id   uuid NOT NULL,
  tenant_id    uuid NOT NULL REFERENCES tenants (id),
  database_id  uuid NOT NULL REFERENCES databases (id),
  server_id    uuid NOT NULL REFERENCES servers (id),
  wave         integer NOT NULL,
  ordinal      integer NOT NULL,
  state        text NOT NULL CHECK (state IN ('pending', 'running', 'verified', 'failed', 'unreachable',
                 'deferred', 'skipped', 'unknown', 'undone')),
  -- Names of the migrations that the target missed when it was planned.
  missing      jsonb NOT NULL,
  -- Epoch of the lease under which it last ran; names the sessions to end after a takeover.
  epoch        bigint,
  tries        integer NOT NULL DEFAULT 0,
  error        jsonb,
  reason       text,
  duration_ms  integer,
  started_at   timestamptz,
  finished_at  timestamptz,
  PRIMARY KEY (rollout_id, database_id),
  FOREIGN KEY (rollout_id, wave) REFERENCES rollout_waves (rollout_id, ordinal)
);
CREATE INDEX rollout_targets_claim ON rollout_targets (rollout_id, wave, state, ordinal);
CREATE INDEX rollout_targets_database ON rollout_targets (database_id);
-- What stopped rollouts still have in flight: the sweeper looks for it every second.
CREATE INDEX rollout_targets_in_flight ON rollout_targets (rollout_id) WHERE state IN ('running', 'unknown');

-- Down Migration
DROP TABLE rollout_targets, rollout_waves, rollouts;
