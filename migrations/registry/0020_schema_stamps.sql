-- Up Migration
-- Schemas are proven before they are changed; what was proven is not read again until somebody has touched it.

-- {version, database, databaseSince, serverSince, changes} as of the last comparison (releases/stamp.ts); null: unknown.
ALTER TABLE databases ADD COLUMN schema_stamp jsonb;

-- Down Migration
ALTER TABLE databases DROP COLUMN schema_stamp;
