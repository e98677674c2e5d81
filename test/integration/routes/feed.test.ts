import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { RouteChanges, RouteSnapshot } from '../../../contract/route.ts';
import { createControlPlane, ControlPlaneError } from '../../../tenant-app/routing/control-plane.ts';
import { startFeed } from '../../../tenant-app/routing/feed-client.ts';
import { createRouteTable } from '../../../tenant-app/routing/route-table.ts';
import { apiClient } from '../../support/api.ts';
import { quietLogger } from '../../support/registry.ts';
import { until } from '../../support/until.ts';
import { startMiniFleet, type MiniFleet, type TestTenant } from '../tenant-app/mini-fleet.ts';

describe('route feed', () => {
  let fleet: MiniFleet;
  let acme: TestTenant;
  let globex: TestTenant;

  before(async () => {
    fleet = await startMiniFleet();
    acme = await fleet.addTenant('acme', { region: 'eu' });
    globex = await fleet.addTenant('globex', { region: 'us' });
  });
  after(() => fleet.stop());

  const snapshotOf = (region: string) =>
    apiClient(fleet.url, fleet.tokens[region] ?? '').ok<RouteSnapshot>(
      'GET',
      `/api/v1/regions/${region}/routes`,
    );

  /** A table kept up to date by the real feed. */
  async function followed(region: string) {
    const controlPlane = createControlPlane({
      url: fleet.url,
      token: () => fleet.tokens[region] ?? '',
      region,
    });
    const table = createRouteTable();
    const feed = startFeed({ controlPlane, region, table, logger: quietLogger });
    await until('the feed connects', async () => feed.connected());
    return { table, feed };
  }

  const setState = (tenant: TestTenant, state: string) =>
    fleet.registry.query('UPDATE tenants SET state = $2 WHERE id = $1', [tenant.id, state]);

  it('tells a region everything about its own tenants and only host and region of others', async () => {
    const { routes, regions } = await snapshotOf('eu');
    assert.deepEqual(
      regions.map((region) => region.name),
      ['eu', 'us'],
    );
    const own = routes.find((route) => route.kind === 'local');
    assert.equal(own?.kind === 'local' && own.database, acme.database);
    const foreign = routes.filter((route) => route.kind === 'foreign');
    assert.equal(foreign.length, 1);
    assert.deepEqual(Object.keys(foreign[0] ?? {}).sort(), ['hosts', 'key', 'kind', 'region']);
    const text = JSON.stringify(foreign);
    for (const secret of [globex.id, globex.databaseId, globex.database, globex.login]) {
      assert.ok(!text.includes(secret));
    }
  });

  it('names a tenant by the same key in both regions', async () => {
    const [eu, us] = [await snapshotOf('eu'), await snapshotOf('us')];
    assert.deepEqual(eu.routes.map((r) => r.key).sort(), us.routes.map((r) => r.key).sort());
  });

  it("refuses another region's key, unknown regions, and other regions' credentials", async () => {
    const us = apiClient(fleet.url, fleet.tokens['us'] ?? '');
    for (const path of ['routes', 'routes/events', `credentials/${acme.databaseId}`]) {
      const answer = await us.call('GET', `/api/v1/regions/eu/${path}`);
      assert.equal(answer.status, 403, path);
    }
    const foreign = await us.call('GET', `/api/v1/regions/us/credentials/${acme.databaseId}`);
    assert.equal(foreign.status, 404);
    const unknown = await us.call('GET', `/api/v1/regions/us/credentials/${randomUUID()}`);
    assert.equal(unknown.status, 404);
  });

  it('hands out the credential that opens the database, and forbids keeping it', async () => {
    const eu = apiClient(fleet.url, fleet.tokens['eu'] ?? '');
    const answer = await eu.call<{ login: string; password: string }>(
      'GET',
      `/api/v1/regions/eu/credentials/${acme.databaseId}`,
    );
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(answer.body.login, acme.login);
    assert.ok(answer.body.password.length >= 40);
  });

  it('carries changes of state, domains and credentials within a moment', async () => {
    const { table, feed } = await followed('eu');
    const route = () => {
      const found = table.find(acme.host);
      return found?.kind === 'local' ? found : undefined;
    };
    await setState(acme, 'suspended');
    await until('suspended', async () => route()?.state === 'suspended');
    await setState(acme, 'active');
    await until('active', async () => route()?.state === 'active');
    await fleet.registry.query('INSERT INTO domains (host, tenant_id) VALUES ($1, $2)', [
      'app.acme.example',
      acme.id,
    ]);
    await until('the domain leads there', async () => table.find('app.acme.example') !== undefined);
    const before = route()?.credentialVersion;
    await fleet.rotate(acme);
    await until('the new credential is known', async () => route()?.credentialVersion !== before);
    await fleet.registry.query('UPDATE servers SET endpoint_epoch = endpoint_epoch + 1 WHERE region = $1', [
      'eu',
    ]);
    await until('the new epoch is known', async () => route()?.endpointEpoch === 2);
    await fleet.registry.query("UPDATE regions SET app_url = 'http://other.test' WHERE name = 'us'");
    await until(
      "the other region's address is known",
      async () => table.region('us')?.appUrl === 'http://other.test',
    );
    await setState(globex, 'offboarding');
    await until('a foreign tenant ends', async () => table.find(globex.host) === undefined);
    await setState(globex, 'active');
    await until('a foreign tenant is back', async () => table.find(globex.host)?.kind === 'foreign');
    await feed.stop();
  });

  it('serves the last known routes while the control plane is down, and catches up after it', async () => {
    const { table, feed } = await followed('eu');
    await fleet.stopHttp();
    await until('the loss is noticed', async () => !feed.connected());
    assert.equal(table.find(acme.host)?.kind, 'local');
    await setState(acme, 'suspended');
    await fleet.startHttp();
    await until('the change of the meantime arrives', async () => {
      const found = table.find(acme.host);
      return found?.kind === 'local' && found.state === 'suspended';
    });
    await setState(acme, 'active');
    await feed.stop();
  });

  it('resumes after a version in pages, and tells when a version is not of its history', async () => {
    const controlPlane = createControlPlane({
      url: fleet.url,
      token: () => fleet.tokens['eu'] ?? '',
      region: 'eu',
    });
    const stop = new AbortController();
    const path = '/api/v1/regions/eu/routes/events';
    await assert.rejects(
      controlPlane.openStream(`${path}?since=99999999`, stop.signal),
      (error: unknown) => error instanceof ControlPlaneError && error.status === 410,
    );
    await fleet.registry.query(
      `INSERT INTO tenants (id, slug, name, tier, region, state)
       SELECT gen_random_uuid(), 'many-' || n, 'many', 'standard', 'us', 'suspended' FROM generate_series(1, 1200) n`,
    );
    const seen = new Set<string>();
    const body = await controlPlane.openStream(`${path}?since=0`, stop.signal);
    let text = '';
    for await (const chunk of body.pipeThrough(new TextDecoderStream()) as AsyncIterable<string>) {
      text += chunk;
      const events = text.split('\n\n');
      text = events.pop() ?? '';
      for (const event of events) {
        const data = /^data: (.*)$/m.exec(event)?.[1];
        if (data === undefined) continue;
        const changes = JSON.parse(data) as RouteChanges;
        assert.ok(changes.routes.length <= 500);
        for (const route of changes.routes) seen.add(route.key);
      }
      if (seen.size >= 1202) break;
    }
    stop.abort();
    assert.equal(seen.size, 1202);
  });

  it('holds one listening connection, and none after the last client has left', async () => {
    const listeners = async () => {
      const { rows } = await fleet.registry.query(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%fleet_routes%'",
      );
      return rows.length;
    };
    const followers = await Promise.all([followed('eu'), followed('us'), followed('eu')]);
    assert.equal(await listeners(), 1);
    await Promise.all(followers.map(({ feed }) => feed.stop()));
    await until('the connection is closed', async () => (await listeners()) === 0);
  });
});
