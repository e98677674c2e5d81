-- Up Migration
-- What the end of an old credential waits for.

ALTER TABLE app_instances
  -- Up to this version of the route table the instance uses no credential that is older; null: it has not said.
  ADD COLUMN acknowledged bigint;

ALTER TABLE secret_versions
  -- When somebody looks again whether a previous version may go; null: as soon as all apps have acknowledged.
  ADD COLUMN look_at timestamptz,
  -- Of a previous version: it has leaked, and is closed at once, with its sessions.
  ADD COLUMN revoked boolean NOT NULL DEFAULT false,
  -- Why a version that was handed out opens nothing any more.
  ADD COLUMN retired_because text;

-- Running app instances that may still use an older credential of the tenant's database than the present one: they have
-- not acknowledged the version of the route table that announced it. Silent for longer, an instance counts as gone.
CREATE FUNCTION unacknowledged(tenant uuid, silent_minutes_max integer) RETURNS integer LANGUAGE sql STABLE AS $$
  SELECT count(*)::int FROM tenants t
    JOIN route_changes c ON c.tenant_id = t.id
    JOIN app_instances i ON i.region = t.region
   WHERE t.id = tenant AND i.stopped_at IS NULL AND i.silent_minutes < silent_minutes_max
     AND coalesce(i.acknowledged, -1) < c.version
$$;

-- Down Migration
DROP FUNCTION unacknowledged(uuid, integer);
ALTER TABLE secret_versions DROP COLUMN look_at, DROP COLUMN revoked, DROP COLUMN retired_because;
ALTER TABLE app_instances DROP COLUMN acknowledged;
