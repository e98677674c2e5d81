import assert from 'node:assert/strict';
import type { LocalRoute, RouteSnapshot } from '../../../contract/route.ts';
import { createControlPlane } from '../../../tenant-app/routing/control-plane.ts';
import { createCredentials } from '../../../tenant-app/routing/credentials.ts';
import { createGates, type Breaker, type Gates } from '../../../tenant-app/routing/gate.ts';
import { createPools, type Pools } from '../../../tenant-app/routing/pools.ts';
import type { Connection, PoolLimits } from '../../../tenant-app/routing/pool-state.ts';
import { RoutingError } from '../../../tenant-app/routing/problem.ts';
import { DEFAULT_LIMITS } from '../../../tenant-app/routing/tenant-routing.ts';
import { sqlState } from '../../../platform/errors.ts';
import { apiClient } from '../../support/api.ts';
import { quietLogger } from '../../support/registry.ts';
import { seededRandom } from '../../support/random.ts';
import { until } from '../../support/until.ts';
import { onServer, startMiniFleet, type MiniFleet, type TestTenant } from './mini-fleet.ts';

const isRefusal = (code: string) => (error: unknown) =>
  error instanceof RoutingError && error.status === 503 && error.code === code;

describe('pools of tenants', () => {
  let fleet: MiniFleet;
  let tenants: TestTenant[];
  let impostor: TestTenant;
  const open: Pools[] = [];
  let gates: Gates;

  beforeEach(() => {
    gates = createGates();
  });

  before(async () => {
    fleet = await startMiniFleet();
    tenants = [];
    for (const name of ['pa', 'pb', 'pc', 'pd']) tenants.push(await fleet.addTenant(`${name}-tenant`));
    impostor = await fleet.addTenant('impostor', { identity: tenants[0]?.id ?? '' });
  });
  afterEach(async () => {
    gates.close();
    await Promise.all(open.splice(0).map((pools) => pools.close()));
  });
  after(() => fleet.stop());

  function makePools(limits: Partial<PoolLimits> = {}) {
    const controlPlane = createControlPlane({
      url: fleet.url,
      token: () => fleet.tokens['eu'] ?? '',
      region: 'eu',
    });
    let asked = 0;
    const credentials = createCredentials((databaseId) => {
      asked += 1;
      return controlPlane.credential(databaseId);
    });
    const pools = createPools({ credentials, logger: quietLogger, limits: { ...DEFAULT_LIMITS, ...limits } });
    open.push(pools);
    const gate = gates.of('tenant', 'tenant').breaker;
    const failures: (string | undefined)[] = [];
    const note = (error: unknown): never => {
      failures.push(sqlState(error));
      throw error;
    };
    const breaker: Breaker = { ...gate, run: (work) => gate.run(work).catch(note) };
    const acquire = (route: LocalRoute) => pools.acquire(route, breaker);
    return { pools: { ...pools, acquire }, asked: () => asked, failures };
  }

  async function routeOf(tenant: TestTenant | undefined): Promise<LocalRoute> {
    const api = apiClient(fleet.url, fleet.tokens['eu'] ?? '');
    const { routes } = await api.ok<RouteSnapshot>('GET', '/api/v1/regions/eu/routes');
    const route = routes.find((found) => found.kind === 'local' && found.tenantId === tenant?.id);
    assert.ok(route?.kind === 'local');
    return route;
  }

  const databaseOf = async (lease: Connection): Promise<string> => {
    const { rows } = await lease.client.query<{ name: string }>('SELECT current_database() AS name');
    return rows[0]?.name ?? '';
  };

  /** Connections as the server counts them. */
  const backends = async (): Promise<number> => {
    const rows = await onServer('eu', "SELECT 1 FROM pg_stat_activity WHERE application_name = 'fleet-app'");
    return rows.length;
  };

  it('asks for a credential once, however many need it at one moment', async () => {
    const { pools, asked } = makePools();
    const route = await routeOf(tenants[0]);
    const leases = await Promise.all([1, 2, 3, 4].map(() => pools.acquire(route)));
    assert.equal(asked(), 1);
    assert.equal(new Set(leases.map((lease) => lease.client)).size, 4);
    for (const lease of leases) {
      assert.equal(await databaseOf(lease), route.database);
      pools.release(lease, false);
    }
  });

  it('refuses a database that is not the tenant’s, and sends it nothing', async () => {
    const { pools } = makePools();
    await assert.rejects(pools.acquire(await routeOf(impostor)), isRefusal('wrong_database'));
    await until('no connection is left', async () => pools.stats().connections === 0);
    assert.equal(await backends(), 0);
  });

  it('keeps a tenant within its own bound; whoever waits too long is told so', async () => {
    const { pools } = makePools({ connectionsPerTenant: 2, waitMs: 100 });
    const route = await routeOf(tenants[0]);
    const [first, second] = await Promise.all([pools.acquire(route), pools.acquire(route)]);
    await assert.rejects(pools.acquire(route), isRefusal('pool_exhausted'));
    const third = pools.acquire(route);
    pools.release(first, false);
    assert.equal((await third).client, first.client);
    pools.release(await third, false);
    pools.release(second, true);
    await until('the broken one is gone', async () => pools.stats().connections === 1);
  });

  it('closes the least recently used idle connection for another tenant, never a busy one', async () => {
    const { pools } = makePools({ connections: 2, waitMs: 500 });
    const [a, b, c] = await Promise.all(tenants.slice(0, 3).map(routeOf));
    assert.ok(a && b && c);
    const busy = await pools.acquire(a);
    pools.release(await pools.acquire(b), false);
    const third = await pools.acquire(c);
    assert.equal(await databaseOf(busy), a.database);
    assert.equal(pools.stats().connections, 2);
    await assert.rejects(pools.acquire(b), isRefusal('pool_exhausted'));
    const waiting = pools.acquire(b);
    pools.release(third, false);
    const fourth = await waiting;
    assert.equal(await databaseOf(fourth), b.database);
    assert.equal(await databaseOf(busy), a.database);
    pools.release(busy, false);
    pools.release(fourth, false);
  });

  it('gives a freed place to a tenant that has none before one that wants more', async () => {
    const { pools } = makePools({ connections: 2 });
    const [a, b, c] = await Promise.all(tenants.slice(0, 3).map(routeOf));
    assert.ok(a && b && c);
    const busy = await pools.acquire(a);
    pools.release(await pools.acquire(b), false);
    const more = pools.acquire(a);
    // The connection of b is closed for one of the two who wait now.
    const first = await pools.acquire(c);
    assert.equal(await databaseOf(first), c.database);
    assert.equal(pools.stats().waiting, 1);
    pools.release(busy, false);
    assert.equal((await more).client, busy.client);
    pools.release(busy, false);
    pools.release(first, false);
  });

  it('lets a busy tenant have a quiet one’s connection in the end', async () => {
    const { pools } = makePools({ connections: 2 });
    const [a, b] = await Promise.all(tenants.slice(0, 2).map(routeOf));
    assert.ok(a && b);
    const busy = await pools.acquire(a);
    pools.release(await pools.acquire(b), false);
    const second = await pools.acquire(a);
    assert.equal(await databaseOf(second), a.database);
    assert.equal(pools.stats().connections, 2);
    pools.release(busy, false);
    pools.release(second, false);
  });

  it('drains a retired pool: busy connections live until they come back', async () => {
    const { pools } = makePools();
    const route = await routeOf(tenants[0]);
    const busy = await pools.acquire(route);
    pools.release(await pools.acquire(route), false);
    pools.retire(route, '0');
    assert.equal(await databaseOf(busy), route.database);
    pools.release(busy, false);
    await until('all are closed', async () => pools.stats().connections === 0);
    const again = await pools.acquire(route);
    pools.release(again, false);
  });

  it('holds every bound under a random load, and the server never sees more', async () => {
    const limits = { connections: 5, connectionsPerTenant: 2, waitMs: 20_000 };
    const { pools } = makePools(limits);
    const routes = await Promise.all(tenants.map(routeOf));
    const random = seededRandom(42);
    let worst = 0;
    const sampler = setInterval(() => (worst = Math.max(worst, pools.stats().connections)), 1);
    const work = async (): Promise<void> => {
      for (let turn = 0; turn < 40; turn += 1) {
        const route = routes[Math.floor(random() ** 2 * routes.length)];
        assert.ok(route);
        const lease = await pools.acquire(route);
        assert.equal(await databaseOf(lease), route.database);
        pools.release(lease, random() < 0.1);
      }
    };
    await Promise.all(Array.from({ length: 20 }, work));
    clearInterval(sampler);
    assert.ok(worst <= limits.connections, `${worst} connections`);
    assert.ok((await backends()) <= limits.connections);
    assert.equal(pools.stats().busy, 0);
    assert.equal(pools.stats().waiting, 0);
  });

  it('asks for the credential again when the server refuses it, and then serves', async () => {
    const { pools, asked } = makePools();
    const route = await routeOf(tenants[1]);
    pools.release(await pools.acquire(route), true);
    await until('the connection is closed', async () => pools.stats().connections === 0);
    // The password changes, but the route that this caller holds is still the old one.
    await fleet.rotate(tenants[1] as TestTenant);
    const leases = await Promise.all([pools.acquire(route), pools.acquire(route)]);
    for (const lease of leases) pools.release(lease, false);
    assert.equal(asked(), 2);
  });

  it('does not ask again and again for a credential that stays refused', async () => {
    const { pools, asked } = makePools();
    const tenant = tenants[2];
    const route = await routeOf(tenant);
    await onServer('eu', `ALTER ROLE "${tenant?.login}" NOLOGIN`);
    for (let turn = 0; turn < 5; turn += 1) {
      await assert.rejects(pools.acquire(route), isRefusal('credential_refused'));
    }
    assert.equal(asked(), 2);
    await onServer('eu', `ALTER ROLE "${tenant?.login}" LOGIN`);
    pools.release(await pools.acquire(route), false);
  });

  it('waits for a place when the server has none, instead of failing at once', async () => {
    const { pools, failures } = makePools();
    const tenant = tenants[3];
    const route = await routeOf(tenant);
    await onServer('eu', `ALTER ROLE "${tenant?.login}" CONNECTION LIMIT 1`);
    const first = await pools.acquire(route);
    const second = pools.acquire(route);
    let isServed = false;
    void second.then(() => (isServed = true));
    await until('the server has refused the second', async () => failures.length > 0);
    assert.equal(failures[0], '53300');
    assert.equal(isServed, false);
    pools.release(first, true);
    pools.release(await second, false);
    await onServer('eu', `ALTER ROLE "${tenant?.login}" CONNECTION LIMIT 20`);
  });

  it('goes on with the connections that it has when the server gives no more', async () => {
    const { pools, failures } = makePools();
    const tenant = tenants[3];
    const route = await routeOf(tenant);
    await onServer('eu', `ALTER ROLE "${tenant?.login}" CONNECTION LIMIT 1`);
    const startedAt = performance.now();
    const work = async (): Promise<void> => {
      for (let turn = 0; turn < 40; turn += 1) {
        const lease = await pools.acquire(route);
        assert.equal(await databaseOf(lease), route.database);
        pools.release(lease, false);
      }
    };
    await Promise.all(Array.from({ length: 20 }, work));
    const seconds = (performance.now() - startedAt) / 1_000;
    // One try a second, and those that were under way at the first refusal.
    assert.ok(failures.length <= 8 * (1 + seconds), `${failures.length} tries`);
    assert.deepEqual(new Set(failures), new Set(failures.length > 0 ? ['53300'] : []));
    await onServer('eu', `ALTER ROLE "${tenant?.login}" CONNECTION LIMIT 20`);
  });

  it('tells when there is no credential or no server', async () => {
    const { pools } = makePools();
    const route = await routeOf(tenants[0]);
    const nowhere = { ...route, port: 1, endpointEpoch: 99 };
    await assert.rejects(pools.acquire(nowhere), isRefusal('database_unreachable'));
    const unknown = { ...route, databaseId: '00000000-0000-4000-8000-000000000000' };
    await assert.rejects(pools.acquire(unknown), isRefusal('credential_unavailable'));
    assert.equal(pools.stats().connections, 0);
  });
});
