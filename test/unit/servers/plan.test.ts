import assert from 'node:assert/strict';
import fc from 'fast-check';
import { TIERS } from '../../../contract/tenant.ts';
import { SERVER_STATES } from '../../../contract/server.ts';
import { planPlacement, type Candidate } from '../../../control-plane/servers/plan.ts';
import { transitionServer, type ServerEvent } from '../../../control-plane/servers/server.ts';

const RUNS = { numRuns: 2_000, seed: 11 };

const candidate: fc.Arbitrary<Omit<Candidate, 'name'>> = fc.record({
  id: fc.uuid(),
  region: fc.constantFrom('eu', 'us'),
  mode: fc.constantFrom('shared', 'dedicated'),
  state: fc.oneof({ weight: 3, arbitrary: fc.constant('ready' as const) }, fc.constantFrom(...SERVER_STATES)),
  reachable: fc.boolean(),
  databases: fc.nat(12),
  maxDatabases: fc.integer({ min: 1, max: 12 }),
  connections: fc.nat(120),
  maxConnections: fc.integer({ min: 1, max: 120 }),
});
const fleet = fc
  .array(candidate, { maxLength: 12 })
  .map((servers) => servers.map((server, index) => ({ ...server, name: `s${index}` })));
const request = fc.record({
  region: fc.constantFrom('eu', 'us'),
  tier: fc.constantFrom(...TIERS),
  connectionLimit: fc.integer({ min: 1, max: 40 }),
});

function server(name: string, more: Partial<Candidate> = {}): Candidate {
  return {
    ...{ id: name, name, region: 'eu', mode: 'shared', state: 'ready', reachable: true },
    ...{ databases: 0, maxDatabases: 10, connections: 0, maxConnections: 100 },
    ...more,
  };
}

describe('placement', () => {
  it('never leaves the region, the mode, or the capacity, and finds room where there is some', () => {
    fc.assert(
      fc.property(request, fleet, (wanted, servers) => {
        const mode = wanted.tier === 'enterprise' ? 'dedicated' : 'shared';
        const usable = (one: Candidate) =>
          one.region === wanted.region &&
          one.mode === mode &&
          one.state === 'ready' &&
          one.reachable &&
          one.databases < one.maxDatabases &&
          one.connections + wanted.connectionLimit <= one.maxConnections &&
          (mode === 'shared' || one.databases === 0);
        const { chosen } = planPlacement(wanted, servers);
        assert.equal(chosen !== undefined, servers.some(usable));
        assert.ok(chosen === undefined || usable(chosen));
      }),
      RUNS,
    );
  });

  it('is the same for every order of the servers, and gives a verdict on each', () => {
    const shuffled = fleet.chain((servers) =>
      fc.tuple(
        fc.constant(servers),
        fc.shuffledSubarray(servers, { minLength: servers.length, maxLength: servers.length }),
      ),
    );
    fc.assert(
      fc.property(request, shuffled, (wanted, [servers, mixed]) => {
        const placement = planPlacement(wanted, servers);
        assert.deepEqual(planPlacement(wanted, mixed), placement);
        const considered =
          placement.chosen === undefined ? placement.considered : placement.report.considered;
        assert.deepEqual(
          considered.map((entry) => entry.server).sort(),
          servers.map((one) => one.name).sort(),
        );
        assert.ok(considered.every((entry) => entry.verdict !== ''));
      }),
      RUNS,
    );
  });

  it('packs standard tenants, spreads premium ones, and gives enterprise the smallest free server', () => {
    const servers = [
      server('a', { databases: 2, connections: 20 }),
      server('b', { databases: 5, connections: 50 }),
      server('c', { databases: 5, connections: 95 }),
      server('d', { mode: 'dedicated', maxConnections: 500 }),
      server('e', { mode: 'dedicated', maxConnections: 200 }),
      server('f', { mode: 'dedicated', maxConnections: 150, databases: 1 }),
    ];
    const chosen = (tier: 'standard' | 'premium' | 'enterprise') =>
      planPlacement({ region: 'eu', tier, connectionLimit: 10 }, servers).chosen?.name;
    assert.equal(chosen('standard'), 'b');
    assert.equal(chosen('premium'), 'a');
    assert.equal(chosen('enterprise'), 'e');
  });

  it('calls each tier by its article', () => {
    const verdict = (tier: 'premium' | 'enterprise', mode: 'shared' | 'dedicated') => {
      const placement = planPlacement({ region: 'eu', tier, connectionLimit: 10 }, [server('a', { mode })]);
      return placement.chosen === undefined ? placement.considered[0]?.verdict : undefined;
    };
    assert.equal(verdict('enterprise', 'shared'), 'is shared; an enterprise tenant needs a dedicated server');
    assert.equal(verdict('premium', 'dedicated'), 'is dedicated; a premium tenant needs a shared server');
  });

  it('says in words why a server was not taken', () => {
    const placement = planPlacement({ region: 'eu', tier: 'standard', connectionLimit: 10 }, [
      server('away', { region: 'us' }),
      server('cord', { state: 'cordoned' }),
      server('dark', { reachable: false }),
      server('full', { databases: 10 }),
      server('lone', { mode: 'dedicated' }),
      server('thin', { connections: 95 }),
    ]);
    assert.equal(placement.chosen, undefined);
    assert.deepEqual(
      placement.considered.map((entry) => `${entry.server} ${entry.verdict}`),
      [
        'away is in region us',
        'cord is cordoned',
        'dark did not answer when it was last checked',
        'full is full: 10 of 10 databases',
        'lone is dedicated; a standard tenant needs a shared server',
        'thin has 5 of 100 connections left, 10 are needed',
      ],
    );
  });
});

describe('server states', () => {
  it('never leave retired, and reach ready only by registration or uncordon', () => {
    const events = fc.constantFrom<ServerEvent>('ready', 'unready', 'cordon', 'uncordon', 'drain', 'retire');
    fc.assert(
      fc.property(fc.constantFrom(...SERVER_STATES), events, (state, event) => {
        const next = transitionServer(state, event);
        if (state === 'retired') assert.equal(next, undefined);
        if (next === 'ready') assert.ok(event === 'ready' || event === 'uncordon');
        if (next === 'retired') assert.equal(event, 'retire');
      }),
      RUNS,
    );
  });
});
