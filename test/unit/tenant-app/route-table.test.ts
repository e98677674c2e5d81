import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { LocalRoute, Route } from '../../../contract/route.ts';
import { admit } from '../../../tenant-app/routing/admit.ts';
import { RoutingError } from '../../../tenant-app/routing/problem.ts';
import { createRouteTable } from '../../../tenant-app/routing/route-table.ts';

const RUNS = { numRuns: 1_000, seed: 20_261_121 };
const REGIONS = [
  { name: 'eu', domain: 'eu.localhost', appUrl: 'http://eu.test' },
  { name: 'us', domain: 'us.localhost', appUrl: 'http://us.test' },
];

function local(key: string, hosts: string[], state: LocalRoute['state'] = 'active'): LocalRoute {
  return {
    kind: 'local',
    key,
    hosts,
    tenantId: key,
    slug: key,
    tier: 'standard',
    state,
    databaseId: key,
    database: key,
    host: '127.0.0.1',
    port: 5432,
    tls: 'disable',
    login: key,
    credentialVersion: key,
    endpointEpoch: 1,
    connectionLimit: 10,
    serverId: 'server',
    serverMaxConnections: 100,
    schemaVersion: null,
  };
}

const snapshot = (version: string, routes: Route[]) => ({
  version,
  region: 'eu',
  regions: REGIONS,
  steps: [],
  routes,
});
const changes = (version: string, routes: Route[]) => ({ version, regions: REGIONS, steps: [], routes });

describe('route table', () => {
  it('finds by every host, and forgets the hosts that a change takes away', () => {
    const table = createRouteTable();
    table.replace(snapshot('1', [local('a', ['a.eu.localhost', 'a.example'])]));
    assert.equal(table.find('a.example')?.key, 'a');
    table.apply(changes('2', [local('a', ['a.eu.localhost'])]));
    assert.equal(table.find('a.example'), undefined);
    assert.equal(table.find('a.eu.localhost')?.key, 'a');
    table.apply(changes('3', [{ kind: 'removed', key: 'a' }]));
    assert.equal(table.find('a.eu.localhost'), undefined);
    assert.equal(table.version(), '3');
  });

  it('lets a host pass from one tenant to another in one batch, in either order', () => {
    for (const order of [0, 1]) {
      const table = createRouteTable();
      table.replace(snapshot('1', [local('a', ['x.example']), local('b', ['b.example'])]));
      const batch = [local('a', ['a.example']), local('b', ['b.example', 'x.example'])];
      table.apply(changes('2', order === 0 ? batch : batch.reverse()));
      assert.equal(table.find('x.example')?.key, 'b');
    }
  });

  it('tells which local routes changed or ended', () => {
    const told: string[] = [];
    const table = createRouteTable((previous, next) => told.push(`${previous.key} ${next?.state ?? 'gone'}`));
    table.replace(snapshot('1', [local('a', ['a']), local('b', ['b'])]));
    table.apply(changes('2', [local('a', ['a'], 'suspended')]));
    table.apply(changes('3', [{ kind: 'foreign', key: 'b', hosts: ['b'], region: 'us' }]));
    assert.deepEqual(told, ['a suspended', 'b gone']);
  });

  it('after any changes is what a snapshot of the same routes would be', () => {
    const keys = ['k1', 'k2', 'k3', 'k4'];
    const route = fc
      .record({
        key: fc.constantFrom(...keys),
        kind: fc.constantFrom('local', 'foreign', 'removed'),
        extra: fc.boolean(),
      })
      .map(({ key, kind, extra }): Route => {
        const hosts = [`${key}.eu.localhost`, ...(extra ? [`${key}.example`] : [])];
        if (kind === 'local') return local(key, hosts);
        if (kind === 'foreign') return { kind: 'foreign', key, hosts, region: 'us' };
        return { kind: 'removed', key };
      });
    fc.assert(
      fc.property(
        fc.array(fc.uniqueArray(route, { selector: (r) => r.key, maxLength: 4 }), { maxLength: 12 }),
        (batches) => {
          const table = createRouteTable();
          table.replace(snapshot('0', []));
          const model = new Map<string, Route>();
          batches.forEach((batch, index) => {
            table.apply(changes(String(index + 1), batch));
            for (const changed of batch) model.set(changed.key, changed);
          });
          const whole = createRouteTable();
          whole.replace(snapshot('x', [...model.values()]));
          for (const host of keys.flatMap((key) => [`${key}.eu.localhost`, `${key}.example`])) {
            assert.deepEqual(table.find(host), whole.find(host));
          }
          assert.equal(table.size(), whole.size());
        },
      ),
      RUNS,
    );
  });
});

describe('admission', () => {
  const refused = (status: number, code: string) => (error: unknown) =>
    error instanceof RoutingError && error.status === status && error.code === code;

  it('lets in active tenants only, and says why not', () => {
    const table = createRouteTable();
    assert.throws(() => admit(table, 'a'), refused(503, 'routes_not_loaded'));
    table.replace(
      snapshot('1', [
        local('a', ['a']),
        local('s', ['s'], 'suspended'),
        local('m', ['m'], 'moving'),
        { kind: 'foreign', key: 'f', hosts: ['f'], region: 'us' },
      ]),
    );
    assert.equal(admit(table, 'a').slug, 'a');
    assert.throws(() => admit(table, 'nobody'), refused(404, 'tenant_not_found'));
    assert.throws(() => admit(table, 's'), refused(423, 'tenant_suspended'));
    assert.throws(
      () => admit(table, 'm'),
      (error: unknown) => refused(503, 'tenant_moving')(error) && (error as RoutingError).retryAfterS === 2,
    );
    assert.throws(
      () => admit(table, 'f'),
      (error: unknown) =>
        refused(421, 'wrong_region')(error) && (error as RoutingError).url === 'http://us.test',
    );
  });
});
