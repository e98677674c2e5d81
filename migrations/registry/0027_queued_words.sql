-- Up Migration
-- Whoever queues a plan may say that it starts although its rehearsal has failed: its turn honours that.
ALTER TABLE rollouts ADD COLUMN queued_despite_rehearsal boolean NOT NULL DEFAULT false;

-- Down Migration
ALTER TABLE rollouts DROP COLUMN queued_despite_rehearsal;
