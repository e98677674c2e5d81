-- Up Migration
-- Migrations that were published though their name sorts before one of the list. Their place in the list, its end at
-- that time, is where every database runs them.
ALTER TABLE migrations ADD COLUMN out_of_order boolean NOT NULL DEFAULT false;

-- Down Migration
ALTER TABLE migrations DROP COLUMN out_of_order;
