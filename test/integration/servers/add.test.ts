import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Operation } from '../../../contract/operation.ts';
import { bindOperation } from '../../../control-plane/operations/definition.ts';
import { createSecrets } from '../../../control-plane/secrets/secret.ts';
import { createServerAccess, type ServerAccess } from '../../../control-plane/servers/access.ts';
import { addServer } from '../../../control-plane/servers/add.ts';
import { checkServers } from '../../../control-plane/servers/health.ts';
import { serverRoutes } from '../../../control-plane/servers/http.ts';
import { stopCluster, type Cluster } from '../../../control-plane/servers/providers/cluster.ts';
import { findServer } from '../../../control-plane/servers/store.ts';
import { addressUrl, withClient, type PgAddress } from '../../../platform/pg.ts';
import { startTestCluster } from '../../support/clusters.ts';
import { freshRegistry, quietLogger, type TestRegistry } from '../../support/registry.ts';
import { addRegions, callRoute, drive } from './support.ts';

describe('registering a server', function () {
  this.timeout(120_000);
  let test: TestRegistry;
  let folder: string;
  let cluster: Cluster;
  let servers: ServerAccess;
  const secrets = createSecrets(randomBytes(32));
  const routes = serverRoutes({ secrets });

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'flotilla-add-'));
    chmodSync(folder, 0o711);
    cluster = await startTestCluster(join(folder, 'one'), 0, { fsync: 'off', log_statement: "'all'" });
  });
  after(async () => {
    await stopCluster(join(folder, 'one'), 'immediate');
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    test = await freshRegistry();
    await addRegions(test.registry);
    servers = createServerAccess({ registry: test.registry, secrets, logger: quietLogger });
  });
  afterEach(async () => {
    await servers.close();
    await test.drop();
  });

  function sql(address: PgAddress, text: string) {
    return withClient(address, { applicationName: 'test' }, (client) => client.query(text));
  }

  async function add(name: string, address: PgAddress | string): Promise<Operation> {
    const url = typeof address === 'string' ? address : addressUrl(address);
    const answer = await callRoute(test.registry, routes, 'addServer', { body: { name, region: 'eu', url } });
    const id = answer.headers?.Location?.split('/').at(-1) ?? '';
    const deps = { registry: test.registry, secrets };
    return drive(test.registry, [bindOperation(addServer, deps)], id);
  }

  async function assertNothingLeft(name: string): Promise<void> {
    assert.equal(await findServer(test.registry, name), undefined);
    const { rows } = await test.registry.query(
      'SELECT 1 FROM data_keys UNION ALL SELECT 1 FROM sealed_secrets',
    );
    assert.equal(rows.length, 0);
  }

  it('hardens it, keeps only an admin of its own, and lets nobody in who is not invited', async () => {
    const operation = await add('eu-1', cluster.superuser);
    assert.equal(operation.state, 'succeeded', JSON.stringify(operation.error));
    const server = await findServer(test.registry, 'eu-1');
    assert.deepEqual([server?.state, server?.adminUser, server?.reachable], ['ready', 'fleet_admin', true]);
    assert.ok((server?.serverVersion ?? 0) >= 150_000);
    await sql(cluster.superuser, "CREATE ROLE stranger LOGIN PASSWORD 'x'");
    for (const database of ['postgres', 'template1']) {
      const stranger = { ...cluster.superuser, database, user: 'stranger', password: 'x' };
      await assert.rejects(sql(stranger, 'SELECT 1'), { code: '42501' }, database);
    }
    await sql(cluster.superuser, 'DROP ROLE stranger');
    const made = await servers.admin(server?.id ?? '', async (client) => {
      await client.query('CREATE DATABASE probe');
      const { rows } = await client.query<{ user: string }>('SELECT current_user AS user');
      return rows[0]?.user;
    });
    assert.equal(made, 'fleet_admin');
    const probe = await servers.address(server?.id ?? '', 'probe');
    const { rows } = await sql(probe, "SELECT has_schema_privilege('public', 'public', 'USAGE') AS open");
    assert.deepEqual(rows, [{ open: false }]);
    await servers.admin(server?.id ?? '', (client) => client.query('DROP DATABASE probe'));
  });

  it('takes a managed service as it is: an admin who may create, but is no superuser', async () => {
    await sql(cluster.superuser, "CREATE ROLE rds LOGIN CREATEDB CREATEROLE PASSWORD 'rdspass'");
    await sql(cluster.superuser, 'GRANT CONNECT ON DATABASE postgres, template1 TO rds');
    await sql(cluster.superuser, 'COMMENT ON ROLE fleet_admin IS NULL');
    const rds = { ...cluster.superuser, user: 'rds', password: 'rdspass' };
    const operation = await add('eu-1', rds);
    assert.equal(operation.state, 'succeeded', JSON.stringify(operation.error));
    const server = await findServer(test.registry, 'eu-1');
    assert.equal(server?.adminUser, 'rds');
    assert.equal((await secrets.current(test.registry, `server:${server.id}`))?.password, 'rdspass');
    await checkServers({ registry: test.registry, secrets, servers, logger: quietLogger });
    assert.equal((await findServer(test.registry, 'eu-1'))?.reachable, true);
    await sql(cluster.superuser, 'GRANT CONNECT ON DATABASE postgres TO PUBLIC');
    await callRoute(test.registry, routes, 'removeServer', { params: { name: 'eu-1' } });
    const refused = await add('eu-1', rds);
    assert.equal(refused.error?.code, 'server_open_to_public');
    assert.equal((await findServer(test.registry, 'eu-1'))?.state, 'retired');
    await sql(cluster.superuser, 'REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC, rds');
    await sql(cluster.superuser, 'DROP ROLE rds');
  });

  for (const [what, change, code] of [
    ['a wrong password', { password: 'hunter2hunter2' }, 'server_login_refused'],
    ['an unknown user', { user: 'nobody', password: 'hunter2hunter2' }, 'server_login_refused'],
    ['a database that is not there', { database: 'absent' }, 'server_database_missing'],
    ['a port where nothing listens', { port: 1 }, 'server_unreachable'],
    ['a host that does not exist', { host: 'absent.invalid', tls: 'require' }, 'server_unreachable'],
  ] as const) {
    it(`fails on ${what}, says so without the password, and frees the name`, async () => {
      const address: PgAddress = { ...cluster.superuser, ...change };
      const operation = await add('eu-1', address);
      assert.equal(operation.state, 'failed');
      assert.equal(operation.error?.code, code);
      assert.ok(operation.error.fix !== undefined);
      await assertNothingLeft('eu-1');
      const { rows } = await test.registry.query<{ line: string }>(
        'SELECT o::text AS line FROM operations o UNION ALL SELECT s::text FROM operation_steps s UNION ALL SELECT a::text FROM audit_log a',
      );
      assert.ok(rows.length >= 5);
      assert.ok(rows.every((row) => !row.line.includes(address.password)));
      await assert.rejects(
        test.registry.transaction((tx) =>
          bindOperation(addServer, { registry: test.registry, secrets }).retried(tx, operationInput),
        ),
        { code: 'not_retryable' },
      );
    });
  }
  const id = '00000000-0000-4000-8000-000000000000';
  const operationInput = {
    ...{ serverId: id, name: 'x', region: 'eu', adminVersionId: id, migratorVersionId: id },
    ...{ bootstrapUser: 'x', bootstrapVersionId: id },
  };

  it('fails on a user who may not create roles', async () => {
    await sql(cluster.superuser, "CREATE ROLE weak LOGIN CREATEDB PASSWORD 'weakpass'");
    await sql(cluster.superuser, 'GRANT CONNECT ON DATABASE postgres TO weak');
    const operation = await add('eu-1', { ...cluster.superuser, user: 'weak', password: 'weakpass' });
    assert.equal(operation.error?.code, 'server_admin_too_weak');
    await assertNothingLeft('eu-1');
    await sql(cluster.superuser, 'REVOKE CONNECT ON DATABASE postgres FROM weak');
    await sql(cluster.superuser, 'DROP ROLE weak');
  });

  it('refuses at once: unknown region, taken name, bad URL, the same server again', async () => {
    const url = addressUrl(cluster.superuser);
    const post = (body: object) => callRoute(test.registry, routes, 'addServer', { body });
    await assert.rejects(post({ name: 'eu-1', region: 'mars', url }), { code: 'region_not_found' });
    await assert.rejects(post({ name: 'eu-1', region: 'eu', url: 'x' }), { code: 'bad_server_url' });
    await assert.rejects(post({ name: 'eu-1', region: 'eu' }), /either url/);
    await assert.rejects(post({ name: 'eu-1', region: 'eu', url, provider: 'embedded' }), /either url/);
    assert.equal((await test.registry.query('SELECT 1 FROM servers')).rows.length, 0);
    assert.equal((await add('eu-1', cluster.superuser)).state, 'succeeded');
    const other = addressUrl({ ...cluster.superuser, port: 9 });
    await assert.rejects(post({ name: 'eu-1', region: 'eu', url: other }), { code: 'server_name_taken' });
    await assert.rejects(post({ name: 'eu-2', region: 'eu', url }), { code: 'server_already_registered' });
    const alias = await add('eu-2', { ...cluster.superuser, host: 'localhost' });
    assert.equal(alias.error?.code, 'server_already_registered');
    assert.equal((await findServer(test.registry, 'eu-1'))?.state, 'ready');
    const server = await findServer(test.registry, 'eu-1');
    await servers.admin(server?.id ?? '', (client) => client.query('SELECT 1'));
  });

  it('writes no password into the log of the server', async () => {
    await add('eu-1', cluster.superuser);
    const server = await findServer(test.registry, 'eu-1');
    const admin = await secrets.current(test.registry, `server:${server?.id ?? ''}`);
    const log = readFileSync(join(folder, 'one', 'data', 'log', 'postgresql.log'), 'utf8');
    assert.ok(log.includes('ROLE "fleet_admin"'));
    assert.ok(!log.includes(admin?.password ?? ''));
    assert.ok(!log.includes(cluster.superuser.password));
  });
});
