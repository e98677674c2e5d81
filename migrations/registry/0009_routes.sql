-- Up Migration
-- The route feed's clock: which tenant's route changed last, in commit order.

CREATE SEQUENCE route_version_seq;

CREATE TABLE route_changes (
  tenant_id uuid PRIMARY KEY REFERENCES tenants (id),
  version   bigint NOT NULL UNIQUE,
  changed_at timestamptz NOT NULL DEFAULT now()
);

-- The lock makes commit order equal version order: without it a reader could see version 6, then miss a 5
-- that commits later. The triggers are deferred: the lock is the last thing a transaction takes. 7711 is the fleet's number for "route clock".
CREATE FUNCTION route_changed(tenant uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(7711);
  INSERT INTO route_changes (tenant_id, version) VALUES (tenant, nextval('route_version_seq'))
  ON CONFLICT (tenant_id) DO UPDATE SET version = excluded.version, changed_at = now();
  PERFORM pg_notify('fleet_routes', '');
END
$$;

CREATE FUNCTION route_changed_by_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM route_changed(NEW.id);
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER tenants_route AFTER INSERT OR UPDATE OF slug, tier, region, state ON tenants
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION route_changed_by_tenant();

CREATE FUNCTION route_changed_by_part() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM route_changed(CASE TG_OP WHEN 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END);
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER databases_route AFTER INSERT OR UPDATE OF server_id, state, schema_version, connection_limit ON databases
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION route_changed_by_part();
CREATE CONSTRAINT TRIGGER domains_route AFTER INSERT OR UPDATE OR DELETE ON domains
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION route_changed_by_part();

CREATE FUNCTION route_changed_by_secret() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.stage = 'current' THEN
    PERFORM route_changed(d.tenant_id) FROM databases d WHERE 'database:' || d.id = NEW.subject;
  END IF;
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER secret_versions_route AFTER INSERT OR UPDATE OF stage ON secret_versions
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION route_changed_by_secret();

CREATE FUNCTION route_changed_by_server() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM route_changed(d.tenant_id) FROM databases d WHERE d.server_id = NEW.id AND d.state <> 'dropped';
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER servers_route AFTER UPDATE OF host, port, tls, endpoint_epoch, max_connections ON servers
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION route_changed_by_server();

CREATE FUNCTION route_changed_by_region() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM route_changed(t.id) FROM tenants t WHERE t.region = NEW.name AND t.state <> 'deleted';
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER regions_route AFTER UPDATE OF domain, app_url ON regions
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION route_changed_by_region();

-- Down Migration
DROP TRIGGER regions_route ON regions;
DROP TRIGGER servers_route ON servers;
DROP TRIGGER secret_versions_route ON secret_versions;
DROP TRIGGER domains_route ON domains;
DROP TRIGGER databases_route ON databases;
DROP TRIGGER tenants_route ON tenants;
DROP FUNCTION route_changed_by_region(), route_changed_by_server(), route_changed_by_secret(),
  route_changed_by_part(), route_changed_by_tenant(), route_changed(uuid);
DROP TABLE route_changes;
DROP SEQUENCE route_version_seq;
