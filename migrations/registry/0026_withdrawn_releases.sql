-- Up Migration
-- Releases that were taken back before any database had them: moved here with the migrations that were their own, so
-- that the list ends before them again and the names of their files are free. The names of releases are not:
-- rollouts and rehearsals of a withdrawn release go on naming it.

CREATE TABLE withdrawn_releases (
  name         text PRIMARY KEY,
  head         text NOT NULL,
  head_ordinal integer NOT NULL,
  checksum     text NOT NULL,
  published_by text NOT NULL,
  published_at timestamptz NOT NULL,
  withdrawn_by text NOT NULL,
  withdrawn_at timestamptz NOT NULL DEFAULT now(),
  reason       text NOT NULL
);

CREATE TABLE withdrawn_migrations (
  release   text NOT NULL REFERENCES withdrawn_releases (name),
  ordinal   integer NOT NULL,
  name      text NOT NULL,
  -- The whole row of `migrations`, and what the linter had found; null: nothing.
  migration jsonb NOT NULL,
  findings  jsonb,
  PRIMARY KEY (release, ordinal)
);
CREATE TRIGGER withdrawn_releases_immutable BEFORE UPDATE OR DELETE ON withdrawn_releases
  FOR EACH STATEMENT EXECUTE FUNCTION releases_are_immutable();
CREATE TRIGGER withdrawn_migrations_immutable BEFORE UPDATE OR DELETE ON withdrawn_migrations
  FOR EACH STATEMENT EXECUTE FUNCTION releases_are_immutable();

-- What is published may leave only in the transaction that has put an exact copy of it there.
CREATE FUNCTION only_withdrawn_releases_leave() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM withdrawn_releases w WHERE w.name = OLD.name AND w.withdrawn_at = now()
                AND to_jsonb(w) @> to_jsonb(OLD)) THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'published migrations and releases are immutable' USING ERRCODE = 'FL003';
END
$$;
CREATE FUNCTION only_withdrawn_migrations_leave() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM withdrawn_releases w JOIN withdrawn_migrations m ON m.release = w.name
              WHERE w.withdrawn_at = now() AND m.migration = to_jsonb(OLD)) THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'published migrations and releases are immutable' USING ERRCODE = 'FL003';
END
$$;
CREATE FUNCTION only_withdrawn_findings_leave() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM withdrawn_releases w JOIN withdrawn_migrations m ON m.release = w.name
              WHERE w.withdrawn_at = now() AND m.name = OLD.migration AND m.findings = OLD.findings) THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'published migrations and releases are immutable' USING ERRCODE = 'FL003';
END
$$;

DROP TRIGGER releases_immutable ON releases;
DROP TRIGGER migrations_immutable ON migrations;
DROP TRIGGER migration_findings_immutable ON migration_findings;
CREATE TRIGGER releases_immutable BEFORE UPDATE ON releases
  FOR EACH STATEMENT EXECUTE FUNCTION releases_are_immutable();
CREATE TRIGGER migrations_immutable BEFORE UPDATE ON migrations
  FOR EACH STATEMENT EXECUTE FUNCTION releases_are_immutable();
CREATE TRIGGER migration_findings_immutable BEFORE UPDATE ON migration_findings
  FOR EACH STATEMENT EXECUTE FUNCTION releases_are_immutable();
CREATE TRIGGER releases_kept BEFORE DELETE ON releases
  FOR EACH ROW EXECUTE FUNCTION only_withdrawn_releases_leave();
CREATE TRIGGER migrations_kept BEFORE DELETE ON migrations
  FOR EACH ROW EXECUTE FUNCTION only_withdrawn_migrations_leave();
CREATE TRIGGER migration_findings_kept BEFORE DELETE ON migration_findings
  FOR EACH ROW EXECUTE FUNCTION only_withdrawn_findings_leave();

-- Their release is published, or was until it was withdrawn; either way nobody else bears its name.
ALTER TABLE rollouts DROP CONSTRAINT rollouts_release_fkey, DROP CONSTRAINT rollouts_previous_release_fkey;
ALTER TABLE rehearsals DROP CONSTRAINT rehearsals_release_fkey;

-- Down Migration
ALTER TABLE rehearsals ADD FOREIGN KEY (release) REFERENCES releases (name) NOT VALID;
ALTER TABLE rollouts ADD FOREIGN KEY (release) REFERENCES releases (name) NOT VALID,
  ADD FOREIGN KEY (previous_release) REFERENCES releases (name) NOT VALID;
DROP TRIGGER migration_findings_kept ON migration_findings;
DROP TRIGGER migrations_kept ON migrations;
DROP TRIGGER releases_kept ON releases;
DROP TRIGGER migration_findings_immutable ON migration_findings;
DROP TRIGGER migrations_immutable ON migrations;
DROP TRIGGER releases_immutable ON releases;
CREATE TRIGGER migration_findings_immutable BEFORE UPDATE OR DELETE ON migration_findings
  FOR EACH STATEMENT EXECUTE FUNCTION releases_are_immutable();
CREATE TRIGGER migrations_immutable BEFORE UPDATE OR DELETE ON migrations
  FOR EACH STATEMENT EXECUTE FUNCTION releases_are_immutable();
CREATE TRIGGER releases_immutable BEFORE UPDATE OR DELETE ON releases
  FOR EACH STATEMENT EXECUTE FUNCTION releases_are_immutable();
DROP FUNCTION only_withdrawn_releases_leave(), only_withdrawn_migrations_leave(), only_withdrawn_findings_leave();
DROP TABLE withdrawn_migrations, withdrawn_releases;
