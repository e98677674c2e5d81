-- Up Migration
-- Credentials: which version stands in which stage. Values are sealed; the master key is not in here.

CREATE TABLE data_keys (
  id         uuid PRIMARY KEY,
  -- 'tenant:<id>' or 'server:<id>': destroying the row makes everything sealed under it unreadable.
  owner      text NOT NULL UNIQUE,
  wrapped    bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE secret_versions (
  id         uuid PRIMARY KEY,
  -- 'tenant:<id>' or 'server:<id>', as in data_keys.
  owner      text NOT NULL,
  -- 'database:<id>' or 'server:<id>': the thing that the credential opens.
  subject    text NOT NULL,
  region     text NOT NULL REFERENCES regions (name),
  login      text NOT NULL,
  stage      text NOT NULL CHECK (stage IN ('pending', 'current', 'previous', 'retired')),
  created_at timestamptz NOT NULL DEFAULT now(),
  staged_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX secret_versions_one_current ON secret_versions (subject) WHERE stage = 'current';
CREATE UNIQUE INDEX secret_versions_one_pending ON secret_versions (subject) WHERE stage = 'pending';
CREATE UNIQUE INDEX secret_versions_one_previous ON secret_versions (subject) WHERE stage = 'previous';
CREATE INDEX secret_versions_subject ON secret_versions (subject, created_at);
CREATE INDEX secret_versions_owner ON secret_versions (owner);
CREATE INDEX secret_versions_created ON secret_versions (created_at, id);

-- The local store's values (AES-256-GCM under the owner's data key, bound to owner, subject and version).
CREATE TABLE sealed_secrets (
  version_id uuid PRIMARY KEY REFERENCES secret_versions (id) ON DELETE CASCADE,
  sealed     bytea NOT NULL
);

-- Down Migration
DROP TABLE sealed_secrets, secret_versions, data_keys;
