import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { LocalRoute, RouteCredential, RouteSnapshot } from '../../../contract/route.ts';
import { createCredentials } from '../../../tenant-app/routing/credentials.ts';
import { createControlPlane } from '../../../tenant-app/routing/control-plane.ts';
import { createGates, type Breaker, type Gates } from '../../../tenant-app/routing/gate.ts';
import { createPools, type Pools } from '../../../tenant-app/routing/pools.ts';
import { DEFAULT_LIMITS } from '../../../tenant-app/routing/tenant-routing.ts';
import { apiClient } from '../../support/api.ts';
import { quietLogger } from '../../support/registry.ts';
import { until } from '../../support/until.ts';
import { startMiniFleet, type MiniFleet, type TestTenant } from './mini-fleet.ts';

describe('a pool whose tenant gets another credential', () => {
  let fleet: MiniFleet;
  let tenant: TestTenant;
  let route: LocalRoute;
  let gates: Gates;
  let pools: Pools;
  let breaker: Breaker;
  let left: number;
  /** By version: what the control plane tells. */
  let told: Map<string, RouteCredential>;

  before(async () => {
    fleet = await startMiniFleet();
    tenant = await fleet.addTenant('switcher');
    const api = apiClient(fleet.url, fleet.tokens.eu ?? '');
    const { routes } = await api.ok<RouteSnapshot>('GET', '/api/v1/regions/eu/routes');
    const found = routes.find((one) => one.kind === 'local' && one.tenantId === tenant.id);
    assert.ok(found?.kind === 'local');
    route = found;
  });
  after(() => fleet.stop());
  beforeEach(async () => {
    const plane = createControlPlane({ url: fleet.url, token: () => fleet.tokens.eu ?? '', region: 'eu' });
    const credential = await plane.credential(route.databaseId);
    told = new Map([[route.credentialVersion, credential]]);
    let version = route.credentialVersion;
    const credentials = createCredentials(() => {
      const answer = told.get(version);
      return answer === undefined ? Promise.reject(new Error('not told')) : Promise.resolve(answer);
    });
    left = 0;
    gates = createGates();
    breaker = gates.of('switcher', 'switcher').breaker;
    pools = createPools({
      credentials: {
        ...credentials,
        get: (wanted) => {
          version = wanted.credentialVersion;
          return credentials.get(wanted);
        },
      },
      logger: quietLogger,
      limits: DEFAULT_LIMITS,
      onLeft: () => (left += 1),
    });
  });
  afterEach(async () => {
    gates.close();
    await pools.close();
  });

  /** The same route with another credential: what opens it now, or a password that does not. */
  function next(password?: string): LocalRoute {
    const known = told.get(route.credentialVersion);
    assert.ok(known !== undefined);
    const credentialVersion = randomUUID();
    told.set(credentialVersion, { ...known, credentialVersion, password: password ?? known.password });
    return { ...route, credentialVersion };
  }
  const pid = async (of: LocalRoute): Promise<number> => {
    const connection = pools.take(of, breaker) ?? (await pools.acquire(of, breaker));
    const { rows } = await connection.client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    pools.release(connection, false);
    return rows[0]?.pid ?? 0;
  };

  it('goes on with the old connection until one has been opened with the new, then closes it', async () => {
    const old = await pid(route);
    const after = next();
    pools.replace(route, after, '7');
    assert.equal(await pid(after), old);
    assert.equal(pools.inUseSince(), 7n);
    await until('the old connection is closed', async () => left > 0);
    assert.equal(pools.inUseSince(), undefined);
    assert.notEqual(await pid(after), old);
    assert.equal(pools.stats().connections, 1);
  });

  it('lets a busy old connection come back first, and says so long that it is in use', async () => {
    const busy = await pools.acquire(route, breaker);
    const after = next();
    pools.replace(route, after, '7');
    const fresh = await until('a new one serves', async () => {
      const connection = pools.take(after, breaker);
      return connection === undefined || connection === busy ? undefined : connection;
    });
    pools.release(fresh, false);
    assert.equal(pools.inUseSince(), 7n);
    await busy.client.query('SELECT 1');
    pools.release(busy, false);
    await until('it is closed', async () => pools.inUseSince() === undefined);
    assert.equal(left, 1);
  });

  it('stays with the old one while the new does not open the database, and takes over the one after', async () => {
    const old = await pid(route);
    const broken = next('wrong');
    pools.replace(route, broken, '7');
    assert.equal(await pid(broken), old);
    const after = next();
    pools.replace(broken, after, '9');
    assert.equal(await pid(after), old);
    // Still the oldest that is in use.
    assert.equal(pools.inUseSince(), 7n);
    await until('the working one has taken over', async () => left > 0);
    assert.notEqual(await pid(after), old);
  });

  it('opens nothing for a tenant that nobody asks for', async () => {
    pools.replace(route, next(), '7');
    assert.deepEqual([pools.stats().connections, pools.inUseSince(), left], [0, undefined, 1]);
  });

  it('serves those who wait for a connection of the old pool', async () => {
    const connections = await Promise.all(
      Array.from({ length: route.connectionLimit > 8 ? 8 : route.connectionLimit }, () =>
        pools.acquire(route, breaker),
      ),
    );
    const waiting = pools.acquire(route, breaker);
    const after = next();
    pools.replace(route, after, '7');
    const served = await waiting;
    pools.release(served, false);
    for (const connection of connections) pools.release(connection, false);
    await until('all old ones are closed', async () => pools.inUseSince() === undefined);
    assert.equal(left, 1);
  });
});
