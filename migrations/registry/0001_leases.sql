-- Up Migration
-- Settings of the fleet, and who may act on what: leases with an epoch that fences every write.

CREATE TABLE settings (
  key        text PRIMARY KEY,
  value      jsonb NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- One row per live worker process. Its session-level advisory lock (lock_key) is free as soon as the
-- process is gone, which is the fast sign of death; the end of its leases is the slow one.
CREATE TABLE workers (
  id           uuid PRIMARY KEY,
  lock_key     bigint NOT NULL UNIQUE,
  host         text NOT NULL,
  pid          integer NOT NULL,
  -- The ids under which graphile-worker locks this process's jobs, to release them at its death.
  queue_ids    text[] NOT NULL DEFAULT '{}',
  started_at   timestamptz NOT NULL DEFAULT now()
);

-- The right to act on one operation or rollout (resource: 'operation:<id>', 'rollout:<id>').
CREATE TABLE leases (
  resource   text PRIMARY KEY,
  holder     uuid,
  epoch      bigint NOT NULL DEFAULT 0,
  expires_at timestamptz,
  CONSTRAINT leases_holder_until CHECK ((holder IS NULL) = (expires_at IS NULL))
);
CREATE INDEX leases_holder ON leases (holder) WHERE holder IS NOT NULL;

-- Whether the worker's advisory lock is held by a live session. Advisory lock keys of 64 bits are split over
-- classid (high) and objid (low) with objsubid 1: PostgreSQL manual, "pg_locks".
CREATE FUNCTION worker_is_alive(worker uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT 1
    FROM workers w
    JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
     AND l.classid::bigint = ((w.lock_key >> 32) & 4294967295)
     AND l.objid::bigint = (w.lock_key & 4294967295)
    WHERE w.id = worker
  )
$$;

-- The fence: every write of an owner calls it in the same statement or transaction. It locks the lease row,
-- so that a takeover waits for the write or the write sees the takeover; a stale owner gets SQLSTATE FL001.
CREATE FUNCTION fence(lease_resource text, lease_holder uuid, lease_epoch bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM 1 FROM leases
   WHERE resource = lease_resource AND holder = lease_holder AND epoch = lease_epoch
   FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the lease of % at epoch % is lost', lease_resource, lease_epoch USING ERRCODE = 'FL001';
  END IF;
  RETURN true;
END
$$;

-- Down Migration
DROP FUNCTION fence(text, uuid, bigint);
DROP FUNCTION worker_is_alive(uuid);
DROP TABLE leases, workers, settings;
