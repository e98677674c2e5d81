-- Up Migration
-- Short-lived, read-only logins that people look into a tenant's database with.

CREATE TABLE connections (
  id             uuid PRIMARY KEY,
  tenant_id      uuid NOT NULL REFERENCES tenants (id),
  database_id    uuid NOT NULL REFERENCES databases (id),
  login          text NOT NULL UNIQUE,
  state          text NOT NULL CHECK (state IN ('opening', 'open', 'closed')),
  -- SCRAM verifier of the password, until the login is made with it. The password itself is nowhere.
  verifier       text,
  opened_by      text NOT NULL,
  reason         text NOT NULL,
  created_at     timestamptz NOT NULL DEFAULT now(),
  expires_at     timestamptz NOT NULL,
  -- Somebody wants it closed before its time, and who.
  close_asked    text,
  closed_at      timestamptz,
  closed_because text,
  -- When somebody looks again, where the server did not answer; null: at once.
  look_at        timestamptz,
  CONSTRAINT connections_verifier CHECK ((state = 'opening') = (verifier IS NOT NULL)),
  CONSTRAINT connections_closed CHECK ((state = 'closed') = (closed_at IS NOT NULL))
);
CREATE INDEX connections_live ON connections (tenant_id) WHERE state <> 'closed';

-- Down Migration
DROP TABLE connections;
