-- Up Migration
-- Answers to requests that carried an Idempotency-Key, in the tenant's own database: the answer is stored in the
-- transaction that made the change. Status and body are null while the request is being handled.

CREATE TABLE idempotency_keys (
  key          text PRIMARY KEY,
  request_hash text NOT NULL,
  status       integer,
  body         jsonb,
  created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- Down Migration
DROP TABLE idempotency_keys;
