-- Up Migration
-- Rehearsals: what a rollout would do to each of its targets, tried and taken back, or tried on a copy.

CREATE TABLE rehearsals (
  id              uuid PRIMARY KEY,
  rollout_id      uuid NOT NULL REFERENCES rollouts (id),
  release         text NOT NULL REFERENCES releases (name),
  state           text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed')),
  lock_timeout_ms integer NOT NULL CHECK (lock_timeout_ms > 0),
  max_hold_ms     integer NOT NULL CHECK (max_hold_ms > 0),
  -- How many databases the driver is to choose for copies, and whether it has.
  clones          integer NOT NULL DEFAULT 0,
  clones_chosen   boolean NOT NULL DEFAULT false,
  error           jsonb,
  actor           text NOT NULL,
  reason          text,
  created_at      timestamptz NOT NULL DEFAULT now(),
  started_at      timestamptz,
  finished_at     timestamptz,
  CONSTRAINT rehearsals_finished_at CHECK ((state IN ('succeeded', 'failed')) = (finished_at IS NOT NULL))
);
-- One at a time of a rollout; and what some worker should be carrying.
CREATE UNIQUE INDEX rehearsals_open ON rehearsals (rollout_id) WHERE state IN ('queued', 'running');
CREATE INDEX rehearsals_rollout ON rehearsals (rollout_id, created_at);

CREATE TABLE rehearsal_targets (
  rehearsal_id uuid NOT NULL REFERENCES rehearsals (id),
  database_id  uuid NOT NULL REFERENCES databases (id),
  tenant_id    uuid NOT NULL REFERENCES tenants (id),
  -- Of the rollout's wave, and the place in the plan.
  wave         integer NOT NULL,
  ordinal      integer NOT NULL,
  how          text NOT NULL CHECK (how IN ('in_place', 'clone')),
  -- Null: not looked at yet.
  outcome      text CHECK (outcome IN ('passes', 'fails', 'not_rehearsed', 'busy', 'unreachable', 'skipped')),
  reason       text,
  error        jsonb,
  -- {migrations, lockWaitMs, heldMs, durationMs, locks, rewrites}
  measured     jsonb,
  finished_at  timestamptz,
  PRIMARY KEY (rehearsal_id, database_id),
  CONSTRAINT rehearsal_targets_finished_at CHECK ((outcome IS NULL) = (finished_at IS NULL))
);
-- The last word on a database: plans are estimated by it, and starts are refused.
CREATE INDEX rehearsal_targets_database ON rehearsal_targets (database_id, finished_at) WHERE outcome IS NOT NULL;

-- Down Migration
DROP TABLE rehearsal_targets, rehearsals;
