-- Up Migration
-- Waves that depend on each other, approvals, gates, calendars, outages, queued and superseded rollouts. Every
-- clock is a stored instant, so that a restart neither loses nor repeats a wait.

ALTER TABLE rollouts
  -- The principal that planned it: nobody approves their own plan.
  ADD COLUMN author_id     uuid,
  ADD COLUMN approved_by   text,
  ADD COLUMN approved_at   timestamptz,
  -- The next instant at which the engine has something to do; null: at once.
  ADD COLUMN wake_at       timestamptz,
  -- Failures of before are borne by a person's word: they count against no budget any more.
  ADD COLUMN forgiven_at   timestamptz,
  -- Since when running statements are cancelled as well.
  ADD COLUMN forced_at     timestamptz,
  -- Waits for the active rollout to end: since when, and who is to start it.
  ADD COLUMN queued_at     timestamptz,
  ADD COLUMN queued_by     jsonb,
  ADD COLUMN superseded_by uuid REFERENCES rollouts (id);
CREATE INDEX rollouts_queued ON rollouts (queued_at) WHERE queued_at IS NOT NULL;

ALTER TABLE rollout_waves
  -- Ordinals of the waves that must have passed.
  ADD COLUMN depends_on   integer[] NOT NULL DEFAULT '{}',
  ADD COLUMN regions      text NOT NULL DEFAULT 'sequence' CHECK (regions IN ('sequence', 'interleaved')),
  ADD COLUMN gates        text[] NOT NULL DEFAULT '{}',
  ADD COLUMN approve      boolean NOT NULL DEFAULT false,
  ADD COLUMN approved_by  text,
  ADD COLUMN approved_at  timestamptz,
  ADD COLUMN forgiven_at  timestamptz,
  -- Who promoted it past the rest of its bake and gates.
  ADD COLUMN waived_by    text,
  -- When its last target ended: the bake and the gates begin.
  ADD COLUMN done_at      timestamptz;
-- Until now every wave waited for the one before, and a budget was a count or a percentage of its own key.
UPDATE rollout_waves SET depends_on = ARRAY[ordinal - 1] WHERE ordinal > 0;
UPDATE rollout_waves
   SET budget = jsonb_build_object('failures', CASE WHEN budget ->> 'percent' IS NULL THEN budget -> 'failures'
                                                    ELSE to_jsonb((budget ->> 'percent') || '%') END);

ALTER TABLE rollout_targets
  -- When a target that is outside its window runs next.
  ADD COLUMN not_before timestamptz,
  -- Who left it behind: such a tenant takes part in no later rollout unless that names it.
  ADD COLUMN skipped_by text;
CREATE INDEX rollout_targets_due ON rollout_targets (rollout_id, wave, not_before) WHERE not_before IS NOT NULL;
CREATE INDEX rollout_targets_left ON rollout_targets (database_id) WHERE skipped_by IS NOT NULL;

-- Servers that a rollout cannot reach: one event each, however many targets wait for it.
CREATE TABLE rollout_outages (
  rollout_id  uuid NOT NULL REFERENCES rollouts (id),
  server_id   uuid NOT NULL REFERENCES servers (id),
  since       timestamptz NOT NULL DEFAULT now(),
  tries       integer NOT NULL DEFAULT 1,
  next_try_at timestamptz NOT NULL,
  PRIMARY KEY (rollout_id, server_id)
);

-- Down Migration
DROP TABLE rollout_outages;
ALTER TABLE rollout_targets DROP COLUMN not_before, DROP COLUMN skipped_by;
ALTER TABLE rollout_waves DROP COLUMN depends_on, DROP COLUMN regions, DROP COLUMN gates, DROP COLUMN approve,
  DROP COLUMN approved_by, DROP COLUMN approved_at, DROP COLUMN forgiven_at, DROP COLUMN waived_by,
  DROP COLUMN done_at;
ALTER TABLE rollouts DROP COLUMN author_id, DROP COLUMN approved_by, DROP COLUMN approved_at, DROP COLUMN wake_at,
  DROP COLUMN forgiven_at, DROP COLUMN forced_at, DROP COLUMN queued_at, DROP COLUMN queued_by,
  DROP COLUMN superseded_by;
