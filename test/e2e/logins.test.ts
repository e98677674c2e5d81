import assert from 'node:assert/strict';
import type { Tenant } from '../../contract/tenant.ts';
import { sqlState } from '../../platform/errors.ts';
import { parseAddress, withClient, type PgAddress } from '../../platform/pg.ts';
import { callTenant } from '../support/api.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { handedOut } from '../support/handed-out.ts';

const TENANTS = 6;

/** insufficient_privilege (no CONNECT), or no such role (another server), or a wrong password there. */
const REFUSALS = new Set(['42501', '28000', '28P01', '3D000']);

describe("a tenant's login", function () {
  this.timeout(120_000);
  let fleet: Fleet;
  const own: { tenant: Tenant; address: PgAddress }[] = [];

  before(async () => {
    fleet = await startFleet();
    const tenants = await eachAtOnce(
      Array.from({ length: TENANTS }, (_, index) => index),
      4,
      (index) => fleet.createTenant(`login-${index}`, index % 2 === 0 ? 'eu' : 'us'),
    );
    for (const tenant of tenants) {
      const { address } = await handedOut(fleet.controlPlane.deps, tenant.id);
      own.push({ tenant, address });
    }
  });
  after(() => fleet.stop());

  const connect = (address: PgAddress) =>
    withClient(address, { applicationName: 'test' }, (client) =>
      client.query('SELECT count(*) FROM projects'),
    );

  it('opens its own database', async () => {
    for (const { address } of own) {
      const { rows } = await connect(address);
      assert.deepEqual(rows, [{ count: '0' }]);
    }
  });

  it("opens no other tenant's database, no template, and not the registry: 0 of N × N", async () => {
    const registry = parseAddress(fleet.controlPlane.deps.registry.url);
    let tried = 0;
    for (const { tenant, address } of own) {
      const foreign = [
        ...own
          .filter((other) => other.tenant !== tenant)
          .map((other) => ({ ...address, port: other.address.port, database: other.address.database })),
        { ...address, database: 'template1' },
        { ...address, database: 'postgres' },
        { ...address, port: registry.port, database: registry.database },
      ];
      for (const target of foreign) {
        tried += 1;
        await assert.rejects(
          withClient(target, { applicationName: 'test' }, (client) => client.query('SELECT 1')),
          (error) => REFUSALS.has(sqlState(error) ?? ''),
          `${tenant.slug} opened ${target.database}`,
        );
      }
    }
    assert.equal(tried, TENANTS * (TENANTS - 1 + 3));
  });

  it("sees neither the statements of another tenant's sessions nor who it is", async () => {
    const app = await fleet.startApp('eu');
    await app.routing.whenReady;
    const [first, , other] = own;
    assert.ok(first !== undefined && other !== undefined);
    const host = `${other.tenant.slug}.eu.localhost`;
    const { status } = await callTenant(app.url, host, 'POST', '/api/v1/projects', { name: 'Confidential' });
    assert.equal(status, 201);
    await withClient(first.address, { applicationName: 'test' }, async (client) => {
      const { rows } = await client.query<{ shown: Record<string, unknown> }>(
        'SELECT to_jsonb(a) AS shown FROM pg_stat_activity a WHERE datname = $1',
        [other.tenant.database],
      );
      assert.ok(rows.length > 0, 'the other tenant has no session: nothing was looked at');
      for (const { shown } of rows) {
        assert.equal(shown.query, '<insufficient privilege>');
        assert.equal(shown.client_addr, null);
        assert.ok(!JSON.stringify(shown).includes(other.tenant.slug), JSON.stringify(shown));
      }
    });
  });

  it('has no right beyond its own schema', async () => {
    const [first] = own;
    assert.ok(first !== undefined);
    const forbidden = [
      'CREATE TABLE mine (id int)',
      'CREATE SCHEMA mine',
      'CREATE DATABASE mine',
      'CREATE ROLE mine',
      `SET ROLE ${first.tenant.database}_owner`,
      `GRANT ${first.tenant.database}_owner TO ${first.address.user}`,
      `ALTER ROLE ${first.address.user} SUPERUSER`,
      'CREATE TABLE pg_catalog.mine (id int)',
      'CREATE TABLE fleet.mine (id int)',
      'ALTER TABLE projects OWNER TO CURRENT_USER',
      'SET ROLE fleet_admin',
      'SET SESSION AUTHORIZATION fleet_admin',
      "SELECT pg_read_file('/etc/passwd')",
      "SELECT pg_ls_dir('.')",
      "SELECT lo_import('/etc/passwd')",
      "COPY projects (name) FROM '/etc/passwd'",
      "COPY (SELECT 1) TO PROGRAM 'true'",
      'ALTER TABLE projects ADD COLUMN x int',
      'DROP TABLE tasks',
      'UPDATE fleet.identity SET tenant_id = gen_random_uuid()',
      'DELETE FROM fleet.migrations',
      'DELETE FROM pgmigrations',
      'CREATE EXTENSION dblink',
      'SELECT rolpassword FROM pg_authid',
      'ALTER DATABASE postgres SET work_mem = 1',
    ];
    for (const sql of forbidden) {
      await assert.rejects(
        withClient(first.address, { applicationName: 'test' }, (client) => client.query(sql)),
        (error) => sqlState(error)?.startsWith('42') === true,
        `allowed: ${sql}`,
      );
    }
  });
});
