-- Up Migration
-- Regions and the PostgreSQL servers in them.

CREATE TABLE regions (
  name         text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9-]{0,30}$'),
  jurisdiction text NOT NULL,
  -- Tenants of the region are reached at {slug}.{domain}.
  domain       text NOT NULL UNIQUE,
  -- Where the region's tenant app listens, as seen by a person; told in 421 answers. Null until it is known.
  app_url      text,
  created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE servers (
  id              uuid PRIMARY KEY,
  name            text NOT NULL CHECK (name ~ '^[a-z][a-z0-9-]{0,62}$'),
  region          text NOT NULL REFERENCES regions (name),
  provider        text NOT NULL CHECK (provider IN ('embedded', 'postgres', 'rds')),
  mode            text NOT NULL CHECK (mode IN ('shared', 'dedicated')),
  state           text NOT NULL CHECK (state IN ('provisioning', 'ready', 'cordoned', 'draining', 'retired')),
  host            text NOT NULL,
  port            integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
  tls             text NOT NULL CHECK (tls IN ('disable', 'require', 'verify-full')),
  admin_user      text NOT NULL,
  admin_database  text NOT NULL,
  -- Raised when host or port change, so that apps build new pools.
  endpoint_epoch  integer NOT NULL DEFAULT 1,
  max_databases   integer NOT NULL CHECK (max_databases > 0),
  max_connections integer NOT NULL CHECK (max_connections > 0),
  server_version  integer,
  reachable       boolean NOT NULL DEFAULT true,
  checked_at      timestamptz,
  version         integer NOT NULL DEFAULT 1,
  created_at      timestamptz NOT NULL DEFAULT now()
);
-- A retired server keeps its row, as dropped databases point to it; its name may be used again.
CREATE UNIQUE INDEX servers_live_name ON servers (name) WHERE state <> 'retired';
CREATE INDEX servers_placement ON servers (region, mode, state);

-- Down Migration
DROP TABLE servers, regions;
