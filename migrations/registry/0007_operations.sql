-- Up Migration
-- Durable operations: what is to be done and how far it is. The queue only wakes workers.

CREATE TABLE operations (
  id               uuid PRIMARY KEY,
  kind             text NOT NULL,
  state            text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  -- forward: steps are done; backward: they are undone in reverse order.
  direction        text NOT NULL DEFAULT 'forward' CHECK (direction IN ('forward', 'backward')),
  -- 'tenant:<id>' or 'server:<id>'; one open operation per subject.
  subject          text NOT NULL,
  subject_name     text NOT NULL,
  region           text NOT NULL REFERENCES regions (name),
  -- Everything the steps need, with all ids made when the operation was created. Never a secret.
  input            jsonb NOT NULL,
  error            jsonb,
  cancel_requested boolean NOT NULL DEFAULT false,
  actor            text NOT NULL,
  actor_role       text NOT NULL,
  request_id       text,
  attempt          integer NOT NULL DEFAULT 1,
  created_at       timestamptz NOT NULL DEFAULT now(),
  started_at       timestamptz,
  finished_at      timestamptz,
  CONSTRAINT operations_finished_at
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
);
CREATE UNIQUE INDEX operations_one_open ON operations (subject) WHERE state IN ('queued', 'running');
CREATE INDEX operations_open ON operations (created_at) WHERE state IN ('queued', 'running');
CREATE INDEX operations_created ON operations (created_at, id);
CREATE INDEX operations_subject ON operations (subject, created_at);

CREATE TABLE operation_steps (
  operation_id uuid NOT NULL REFERENCES operations (id),
  ordinal      integer NOT NULL,
  name         text NOT NULL,
  state        text NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed', 'undone')),
  output       jsonb,
  error        jsonb,
  tries        integer NOT NULL DEFAULT 0,
  started_at   timestamptz,
  finished_at  timestamptz,
  PRIMARY KEY (operation_id, ordinal),
  UNIQUE (operation_id, name)
);

-- Down Migration
DROP TABLE operation_steps, operations;
