-- Up Migration
-- Expand: old code goes on without knowing the column.
ALTER TABLE projects ADD COLUMN colour text;

-- Down Migration
ALTER TABLE projects DROP COLUMN colour;
