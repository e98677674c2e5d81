-- Up Migration
-- What the linter found in a migration when it was published, allowed or not: as immutable as the migration.
-- Without a row: nothing, or published before migrations were linted.
CREATE TABLE migration_findings (
  migration text PRIMARY KEY REFERENCES migrations (name),
  findings  jsonb NOT NULL
);
CREATE TRIGGER migration_findings_immutable BEFORE UPDATE OR DELETE ON migration_findings
  FOR EACH STATEMENT EXECUTE FUNCTION releases_are_immutable();

-- Down Migration
DROP TABLE migration_findings;
