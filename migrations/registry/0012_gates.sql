-- Up Migration
-- Gates: every measurement is a row, and each gate of a wave is judged by them.

CREATE TABLE rollout_measurements (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  rollout_id   uuid NOT NULL,
  wave         integer NOT NULL,
  gate         text NOT NULL,
  scope        text NOT NULL CHECK (scope IN ('target', 'wave', 'fleet')),
  -- Of scope `target` the one that was asked; else of many the one that decided.
  tenant_id    uuid REFERENCES tenants (id),
  database_id  uuid REFERENCES databases (id),
  outcome      text NOT NULL CHECK (outcome IN ('success', 'failure', 'inconclusive', 'error')),
  value        double precision,
  samples      integer NOT NULL CHECK (samples >= 0),
  message      text NOT NULL,
  measured_at  timestamptz NOT NULL,
  FOREIGN KEY (rollout_id, wave) REFERENCES rollout_waves (rollout_id, ordinal)
);
CREATE INDEX rollout_measurements_gate ON rollout_measurements (rollout_id, wave, gate, measured_at);
CREATE INDEX rollout_measurements_page ON rollout_measurements (rollout_id, id);

-- Where each gate stands by its measurements: what readers see without judging thousands of rows.
CREATE TABLE rollout_gates (
  rollout_id   uuid NOT NULL,
  wave         integer NOT NULL,
  gate         text NOT NULL,
  state        text NOT NULL CHECK (state IN ('waiting', 'measuring', 'passed', 'failed', 'inconclusive', 'error')),
  -- {success, failure, inconclusive, error, missed}
  counts       jsonb NOT NULL,
  next_at      timestamptz,
  -- Begun anew by a person: what was measured before counts no more.
  since        timestamptz,
  PRIMARY KEY (rollout_id, wave, gate),
  FOREIGN KEY (rollout_id, wave) REFERENCES rollout_waves (rollout_id, ordinal)
);

-- Down Migration
DROP TABLE rollout_gates, rollout_measurements;
