import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, renameSync, rmSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Server } from '../../../contract/server.ts';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import { bindOperation } from '../../../control-plane/operations/definition.ts';
import { secretRoutes } from '../../../control-plane/secrets/http.ts';
import { createSecrets } from '../../../control-plane/secrets/secret.ts';
import { createServerAccess } from '../../../control-plane/servers/access.ts';
import { createServer } from '../../../control-plane/servers/create.ts';
import { reserveDatabase } from '../../../control-plane/servers/reserve.ts';
import { ensureEmbeddedServers, stopAsRetired } from '../../../control-plane/servers/embedded-servers.ts';
import { checkServers } from '../../../control-plane/servers/health.ts';
import { serverRoutes } from '../../../control-plane/servers/http.ts';
import { clusterPid, stopCluster } from '../../../control-plane/servers/providers/cluster.ts';
import { ensureRegion } from '../../../control-plane/servers/region.ts';
import { findServer } from '../../../control-plane/servers/store.ts';
import { startTestCluster } from '../../support/clusters.ts';
import { until } from '../../support/until.ts';
import { freshRegistry, quietLogger, type TestRegistry } from '../../support/registry.ts';
import { addRegions, callRoute, drive, insertReadyServer, insertTenant } from './support.ts';

describe('servers', function () {
  this.timeout(120_000);
  let test: TestRegistry;
  let folder: string;
  const masterKey = randomBytes(32);
  const secrets = createSecrets(masterKey);
  const routes = serverRoutes({ secrets });
  const usOnly = { ...SYSTEM_CALLER, regions: ['us'] };

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'flotilla-life-'));
    chmodSync(folder, 0o711);
    test = await freshRegistry();
    await addRegions(test.registry);
  });
  afterEach(async () => {
    for (const name of ['eu-1', 'stray']) await stopCluster(join(folder, name), 'immediate');
    await test.drop();
    rmSync(folder, { recursive: true, force: true });
  });

  function deps() {
    const clusterSettings = { fsync: 'off', max_connections: '20', archive_mode: 'off' };
    const shared = { registry: test.registry, secrets, masterKey, logger: quietLogger };
    return { ...shared, clustersFolder: folder, clusterSettings };
  }
  const call = (id: string, more: Parameters<typeof callRoute>[3]) =>
    callRoute(test.registry, routes, id, more);
  async function create(name: string) {
    const answer = await call('addServer', { body: { name, region: 'eu', provider: 'embedded' } });
    const id = answer.headers?.Location?.split('/').at(-1) ?? '';
    return drive(test.registry, [bindOperation(createServer, deps())], id);
  }

  it('that are embedded start again with their data, wherever their port is now', async () => {
    assert.equal((await create('eu-1')).state, 'succeeded');
    const first = await findServer(test.registry, 'eu-1');
    assert.equal(first?.maxConnections, 20, "PostgreSQL's own, and not the default");
    const servers = createServerAccess(deps());
    const id = first?.id ?? '';
    await servers.admin(id, (client) => client.query('CREATE DATABASE kept'));
    await ensureEmbeddedServers(deps());
    assert.equal((await findServer(test.registry, 'eu-1'))?.endpointEpoch, first?.endpointEpoch, 'adopted');

    process.kill(clusterPid(join(folder, 'eu-1')) ?? 0, 'SIGKILL');
    const stray = await startStrayOn(first?.port ?? 0);
    await checkServers({ ...deps(), servers });
    assert.equal((await findServer(test.registry, 'eu-1'))?.reachable, false);
    await ensureEmbeddedServers(deps());
    const second = await findServer(test.registry, 'eu-1');
    assert.notEqual(second?.port, stray.port);
    assert.equal(second?.endpointEpoch, (first?.endpointEpoch ?? 0) + 1);
    assert.equal(second?.reachable, true);
    const { rows } = await servers.admin(id, (client) =>
      client.query("SELECT 1 FROM pg_database WHERE datname = 'kept'"),
    );
    assert.equal(rows.length, 1);
    await checkServers({ ...deps(), servers });
    assert.equal((await findServer(test.registry, 'eu-1'))?.reachable, true);
    await servers.close();
  });

  /** Takes the port as soon as the killed postmaster has let it go. */
  async function startStrayOn(port: number) {
    const stray = await startTestCluster(join(folder, 'stray'), port);
    return stray;
  }

  it('that are embedded are never made anew when their data is elsewhere', async () => {
    assert.equal((await create('eu-1')).state, 'succeeded');
    await stopCluster(join(folder, 'eu-1'), 'immediate');
    renameSync(join(folder, 'eu-1'), join(folder, 'moved'));
    await ensureEmbeddedServers(deps());
    assert.ok(!existsSync(join(folder, 'eu-1')));
    assert.equal((await findServer(test.registry, 'eu-1'))?.reachable, false);
    renameSync(join(folder, 'moved'), join(folder, 'eu-1'));
    await ensureEmbeddedServers(deps());
    assert.equal((await findServer(test.registry, 'eu-1'))?.reachable, true);
    await call('removeServer', { params: { name: 'eu-1' } });
    await ensureEmbeddedServers(deps());
    assert.equal(clusterPid(join(folder, 'eu-1')), undefined, 'a retired one is stopped');
    const again = await create('eu-1');
    assert.equal(again.error?.code, 'cluster_folder_taken', 'old data is not taken over');
    assert.ok(existsSync(join(folder, 'eu-1', 'data')));
  });

  it('that are embedded are stopped as soon as they are removed, and keep their data', async () => {
    assert.equal((await create('eu-1')).state, 'succeeded');
    const stopping = await stopAsRetired(deps());
    assert.ok(clusterPid(join(folder, 'eu-1')) !== undefined);
    await call('removeServer', { params: { name: 'eu-1' } });
    await until('its process has ended', async () => clusterPid(join(folder, 'eu-1')) === undefined);
    await stopping.close();
    assert.ok(existsSync(join(folder, 'eu-1', 'data', 'PG_VERSION')));
  });

  it('take databases until they are cordoned, and again afterwards', async () => {
    await insertReadyServer(test.registry, 'eu-1');
    const tenantId = await insertTenant(test.registry, 'acme');
    const reserve = () =>
      test.registry.transaction((tx) =>
        reserveDatabase(tx, { databaseId: randomUUID(), tenantId, region: 'eu', tier: 'standard' }),
      );
    const params = { name: 'eu-1' };
    const before = await call('getServer', { params });
    await assert.rejects(call('cordonServer', { params, ifMatch: 99 }), {
      code: 'version_conflict',
      status: 412,
    });
    const cordoned = await call('cordonServer', { params, ifMatch: before.version ?? 0 });
    assert.equal((cordoned.body as Server).state, 'cordoned');
    assert.equal(cordoned.version, (before.version ?? 0) + 1);
    await assert.rejects(reserve(), { code: 'no_room' });
    await assert.rejects(call('cordonServer', { params }), { code: 'wrong_state' });
    await call('uncordonServer', { params });
    await reserve();
    await assert.rejects(call('removeServer', { params }), { code: 'server_in_use', status: 409 });
    await test.registry.query('DELETE FROM databases');
    assert.equal(((await call('removeServer', { params })).body as Server).state, 'retired');
    await assert.rejects(call('uncordonServer', { params }), { code: 'wrong_state' });
    const { rows } = await test.registry.query<{ action: string }>(
      'SELECT action FROM audit_log ORDER BY seq',
    );
    assert.deepEqual(
      rows.map((row) => row.action),
      ['server.cordon', 'server.uncordon', 'server.remove'],
    );
    await insertReadyServer(test.registry, 'eu-1');
    assert.equal((await findServer(test.registry, 'eu-1'))?.state, 'ready', 'the name is free again');
  });

  it('that are dedicated hold one database, whatever the default', async () => {
    const body = { name: 'eu-1', region: 'eu', provider: 'embedded' };
    const made = await call('addServer', { body: { ...body, mode: 'dedicated' } });
    assert.equal((made.body as Server).maxDatabases, 1);
    const shared = await call('addServer', { body: { ...body, name: 'eu-2' } });
    assert.equal((shared.body as Server).maxDatabases, 1_000);
    await assert.rejects(
      call('addServer', { body: { ...body, name: 'eu-3', mode: 'dedicated', maxDatabases: 7 } }),
      /a dedicated server holds one database/,
    );
  });

  it('are listed page by page, and only those of the regions that the key may see', async () => {
    for (let n = 1; n <= 5; n += 1) await insertReadyServer(test.registry, `eu-${n}`, { port: n });
    await insertReadyServer(test.registry, 'us-1', { region: 'us', port: 9 });
    const names: string[] = [];
    let cursor: string | undefined;
    do {
      const answer = await call('listServers', { query: { limit: 2, cursor } });
      const page = answer.body as { items: Server[]; nextCursor: string | null };
      names.push(...page.items.map((server) => server.name));
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    assert.deepEqual(names, ['eu-1', 'eu-2', 'eu-3', 'eu-4', 'eu-5', 'us-1']);
    const mine = (await call('listServers', { caller: usOnly })).body as { items: Server[] };
    assert.deepEqual(
      mine.items.map((server) => server.name),
      ['us-1'],
    );
    const params = { name: 'eu-1' };
    await assert.rejects(call('getServer', { params, caller: usOnly }), { code: 'region_forbidden' });
    await assert.rejects(call('cordonServer', { params, caller: usOnly }), { code: 'region_forbidden' });
    await assert.rejects(call('listServers', { query: { region: 'eu' }, caller: usOnly }), {
      code: 'region_forbidden',
    });
    await assert.rejects(call('getServer', { params: { name: 'none' } }), { code: 'server_not_found' });
    await assert.rejects(call('listServers', { query: { cursor: 'bad' } }), { code: 'invalid_cursor' });
  });

  it('stand in regions, which are made once', async () => {
    const body = { name: 'ap', jurisdiction: 'SG', domain: 'ap.localhost' };
    await call('createRegion', { body });
    await assert.rejects(call('createRegion', { body }), { code: 'region_exists', status: 409 });
    await assert.rejects(call('createRegion', { body: { ...body, name: 'au' } }), { code: 'region_exists' });
    await assert.rejects(call('getRegion', { params: { name: 'mars' } }), { code: 'region_not_found' });
    const listed = (await call('listRegions', { query: { limit: 2 } })).body as { items: { name: string }[] };
    assert.deepEqual(
      listed.items.map((region) => region.name),
      ['ap', 'eu'],
    );
    await test.registry.transaction((tx) => ensureRegion(tx, { ...body, appUrl: 'http://ap.localhost:1' }));
    await test.registry.transaction((tx) => ensureRegion(tx, { ...body, domain: 'other', appUrl: null }));
    const region = (await call('getRegion', { params: { name: 'ap' } })).body as object;
    assert.deepEqual(
      { ...region, createdAt: '' },
      { ...body, appUrl: 'http://ap.localhost:1', servers: 0, tenants: 0, createdAt: '' },
    );
  });

  it('have credentials that are listed by name, region and page, never with a value', async () => {
    const [one, two] = [
      await insertReadyServer(test.registry, 'eu-1'),
      await insertTenant(test.registry, 'acme'),
    ];
    const version = (owner: string, subject: string, region: string) => ({
      ...{ id: randomUUID(), owner, subject, region, login: 'x' },
    });
    await test.registry.transaction(async (tx) => {
      await secrets.createVersion(tx, version(`server:${one}`, `server:${one}`, 'eu'));
      await secrets.createVersion(tx, version(`tenant:${two}`, `database:${randomUUID()}`, 'eu'));
      await secrets.createVersion(tx, version(`tenant:${randomUUID()}`, `database:${randomUUID()}`, 'us'));
    });
    const list = async (id: string, more: Parameters<typeof callRoute>[3]) =>
      (await callRoute(test.registry, secretRoutes({ secrets, silentMinutesMax: 10 }), id, more)).body as {
        items: { name: string; region: string }[];
        nextCursor: string | null;
      };
    const first = await list('listSecrets', { query: { limit: 2 } });
    const rest = await list('listSecrets', { query: { limit: 2, cursor: first.nextCursor } });
    assert.equal(first.items.length + rest.items.length, 3);
    assert.equal(rest.nextCursor, null);
    assert.equal((await list('listSecrets', { caller: usOnly })).items.length, 1);
    assert.equal(
      (await list('listSecrets', { query: { region: 'eu', name: 'acme' } })).items[0]?.name,
      'acme',
    );
    assert.equal((await list('getSecret', { params: { name: 'eu-1' } })).items[0]?.name, 'eu-1');
    await assert.rejects(list('getSecret', { params: { name: 'eu-1' }, caller: usOnly }), {
      code: 'region_forbidden',
    });
    await assert.rejects(list('getSecret', { params: { name: 'none' } }), { code: 'secret_not_found' });
  });
});
