-- Up Migration
-- What a plan was made for: the chain over the checksums of its release's migrations at that moment, so that a start
-- sees whether they are still the same. Null for plans of before it was kept.
ALTER TABLE rollouts ADD COLUMN release_checksum text;

-- Down Migration
ALTER TABLE rollouts DROP COLUMN release_checksum;
