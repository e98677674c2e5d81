-- Up Migration
-- Who may do what, and what was done.

CREATE TABLE principals (
  id         uuid PRIMARY KEY,
  name       text NOT NULL UNIQUE CHECK (name <> ''),
  kind       text NOT NULL CHECK (kind IN ('user', 'app', 'system')),
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
  id           uuid PRIMARY KEY,
  principal_id uuid NOT NULL REFERENCES principals (id),
  -- The public part of the token (flt_<prefix>_<secret>): finds the row; only the hash proves the secret.
  prefix       text NOT NULL UNIQUE,
  hash         text NOT NULL,
  role         text NOT NULL CHECK (role IN ('viewer', 'onboarder', 'operator', 'auditor', 'admin', 'app')),
  -- Empty: every region.
  regions      text[] NOT NULL DEFAULT '{}',
  created_at   timestamptz NOT NULL DEFAULT now(),
  expires_at   timestamptz,
  revoked_at   timestamptz,
  last_used_at timestamptz,
  CONSTRAINT api_keys_app_has_region CHECK (role <> 'app' OR cardinality(regions) = 1)
);
CREATE INDEX api_keys_principal ON api_keys (principal_id);

-- Append-only and hash-chained: hash = sha256 of the canonical entry, which holds prev_hash.
CREATE TABLE audit_log (
  seq        bigint PRIMARY KEY,
  at         timestamptz NOT NULL,
  actor      text NOT NULL,
  actor_role text NOT NULL,
  action     text NOT NULL,
  resource   text NOT NULL,
  -- Regions the entry speaks of; an auditor scoped to a region sees only its entries.
  region     text,
  before     jsonb,
  after      jsonb,
  reason     text,
  request_id text,
  prev_hash  text NOT NULL,
  hash       text NOT NULL UNIQUE
);
CREATE INDEX audit_log_resource ON audit_log (resource, seq);
CREATE INDEX audit_log_actor ON audit_log (actor, seq);

CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'FL002';
END
$$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
  FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();

-- The chain's end, kept apart: a cut tail no longer matches it.
CREATE TABLE audit_head (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  seq  bigint NOT NULL,
  hash text NOT NULL
);
INSERT INTO audit_head (seq, hash) VALUES (0, repeat('0', 64));

-- Answers of POST requests that carried an Idempotency-Key, written in the transaction of their effect.
CREATE TABLE idempotency_keys (
  principal_id uuid NOT NULL REFERENCES principals (id),
  key          text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
  request_hash text NOT NULL,
  status       integer NOT NULL,
  headers      jsonb NOT NULL,
  body         jsonb,
  created_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (principal_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- Down Migration
DROP TABLE idempotency_keys, audit_head, audit_log;
DROP FUNCTION audit_log_is_append_only();
DROP TABLE api_keys, principals;
