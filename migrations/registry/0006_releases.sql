-- Up Migration
-- What a tenant's schema is made of: an ordered list of migrations, and releases as points on that list.

CREATE TABLE migrations (
  name                 text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 255),
  ordinal              integer NOT NULL UNIQUE CHECK (ordinal > 0),
  checksum             text NOT NULL,
  up_sql               text NOT NULL,
  down_sql             text,
  phase                text NOT NULL CHECK (phase IN ('expand', 'migrate', 'contract')),
  transactional        boolean NOT NULL,
  lock_timeout_ms      integer,
  statement_timeout_ms integer,
  -- The single statements of a non-transactional migration, split by PostgreSQL's own parser.
  statements           jsonb
);

CREATE TABLE releases (
  name         text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
  head         text NOT NULL REFERENCES migrations (name),
  head_ordinal integer NOT NULL UNIQUE,
  -- Chain over all checksums up to the head: equal chains are equal releases.
  checksum     text NOT NULL,
  published_by text NOT NULL,
  published_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION releases_are_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'published migrations and releases are immutable' USING ERRCODE = 'FL003';
END
$$;
CREATE TRIGGER migrations_immutable BEFORE UPDATE OR DELETE ON migrations
  FOR EACH STATEMENT EXECUTE FUNCTION releases_are_immutable();
CREATE TRIGGER releases_immutable BEFORE UPDATE OR DELETE ON releases
  FOR EACH STATEMENT EXECUTE FUNCTION releases_are_immutable();

-- Down Migration
DROP TABLE releases, migrations;
DROP FUNCTION releases_are_immutable();
