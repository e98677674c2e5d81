-- Up Migration
-- Tenants, their databases and the hosts that lead to them.

CREATE TABLE tenants (
  id          uuid PRIMARY KEY,
  slug        text NOT NULL CHECK (slug ~ '^[a-z][a-z0-9-]{1,38}[a-z0-9]$' AND slug !~ '--'),
  name        text NOT NULL CHECK (name <> ''),
  tier        text NOT NULL CHECK (tier IN ('standard', 'premium', 'enterprise')),
  region      text NOT NULL REFERENCES regions (name),
  state       text NOT NULL CHECK (state IN
                ('provisioning', 'active', 'suspended', 'moving', 'offboarding', 'deleted', 'failed')),
  labels      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
  contact     text,
  crm_ref     text,
  -- Why the tenant stands in this state, when that needs words (failure, reason of suspension).
  state_cause jsonb,
  -- What placement chose and why, as `tenant get` shows it.
  placement   jsonb,
  -- Raised by every change: the ETag.
  version     integer NOT NULL DEFAULT 1,
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now(),
  deleted_at  timestamptz,
  CONSTRAINT tenants_deleted_at CHECK ((state = 'deleted') = (deleted_at IS NOT NULL))
);
CREATE UNIQUE INDEX tenants_live_slug ON tenants (slug) WHERE state <> 'deleted';
CREATE INDEX tenants_region_state ON tenants (region, state);
CREATE INDEX tenants_labels ON tenants USING gin (labels jsonb_path_ops);
CREATE INDEX tenants_created ON tenants (created_at, id);

CREATE TABLE databases (
  id               uuid PRIMARY KEY,
  tenant_id        uuid NOT NULL REFERENCES tenants (id),
  server_id        uuid NOT NULL REFERENCES servers (id),
  name             text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]{0,47}$'),
  owner_role       text NOT NULL,
  rw_role          text NOT NULL,
  login_a          text NOT NULL,
  login_b          text NOT NULL,
  -- reserved: placement holds its room; ready: serves; dropped: history.
  state            text NOT NULL CHECK (state IN ('reserved', 'ready', 'dropped')),
  -- Name of the last migration applied; null while reserved and for an empty release.
  schema_version   text,
  connection_limit integer NOT NULL CHECK (connection_limit > 0),
  created_at       timestamptz NOT NULL DEFAULT now(),
  dropped_at       timestamptz,
  CONSTRAINT databases_dropped_at CHECK ((state = 'dropped') = (dropped_at IS NOT NULL)),
  UNIQUE (server_id, name)
);
CREATE UNIQUE INDEX databases_live_tenant ON databases (tenant_id) WHERE state <> 'dropped';
CREATE INDEX databases_server ON databases (server_id) WHERE state <> 'dropped';
CREATE INDEX databases_schema_version ON databases (schema_version) WHERE state = 'ready';

CREATE TABLE domains (
  host       text PRIMARY KEY CHECK (host = lower(host) AND host <> ''),
  tenant_id  uuid NOT NULL REFERENCES tenants (id),
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX domains_tenant ON domains (tenant_id);

-- Down Migration
DROP TABLE domains, databases, tenants;
