import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RolloutSpec } from '../../../contract/rollout.ts';
import { createCalendar } from '../../../control-plane/rollouts/plan/calendar.ts';
import { planWaves, type Member } from '../../../control-plane/rollouts/plan/plan.ts';

const RUNS = { numRuns: 1_000, seed: 20261121 };
const MIGRATIONS = ['001_a', '002_b', '003_c'].map((name) => ({ name }));

const NOW = new Date('2026-11-21T12:00:00Z');

function member(slug: string, more: Partial<Member> = {}): Member {
  return {
    tenantId: `tenant-${slug}`,
    slug,
    region: 'eu',
    tier: 'standard',
    labels: {},
    tenantState: 'active',
    databaseId: `database-${slug}`,
    serverId: 'server-1',
    serverName: 'eu-1',
    schemaVersion: '001_a',
    ...more,
  };
}

function plan(waves: object[] | undefined, members: Member[]) {
  const spec = RolloutSpec.parse({ release: 'r', ...(waves === undefined ? {} : { waves }) });
  return planWaves(spec, { migrations: MIGRATIONS, members, now: NOW });
}

function shape(waves: ReturnType<typeof planWaves>) {
  return Object.fromEntries(
    waves.map((wave) => [wave.name, wave.targets.map((target) => target.databaseId.slice(9))]),
  );
}

const anyMember = fc.record({
  region: fc.constantFrom('eu', 'us'),
  tier: fc.constantFrom('standard', 'premium', 'enterprise'),
  labels: fc.constantFrom<Record<string, string>>({}, { canary: 'true' }),
  tenantState: fc.constantFrom('active', 'active', 'active', 'suspended', 'moving', 'offboarding'),
  schemaVersion: fc.constantFrom(null, '001_a', '002_b'),
});
const anyMembers = fc
  .array(anyMember, { maxLength: 40 })
  .map((members) => members.map((fields, index) => member(`t${String(index).padStart(3, '0')}`, fields)));
const anyWave = fc.record(
  {
    match: fc.constantFrom(
      { region: 'eu' },
      { tier: ['premium', 'enterprise'] },
      { labels: { canary: 'true' } },
    ),
    count: fc.integer({ min: 1, max: 10 }),
    percent: fc.integer({ min: 1, max: 100 }),
  },
  { requiredKeys: [] },
);
const anyWaves = fc
  .array(anyWave, { minLength: 1, maxLength: 5 })
  .map((waves) => waves.map((wave, index) => ({ name: `wave-${index}`, ...wave })));

describe('rollout plan', () => {
  it('puts every live tenant in exactly one wave, and defers those that are away', () => {
    fc.assert(
      fc.property(anyWaves, anyMembers, (waves, members) => {
        const targets = plan(waves, members).flatMap((wave) => wave.targets);
        assert.equal(new Set(targets.map((target) => target.databaseId)).size, targets.length);
        const planned = (state: string) =>
          targets.filter((target) => target.state === state).map((target) => target.databaseId);
        const expected = (...states: string[]) =>
          members.filter((one) => states.includes(one.tenantState)).map((one) => one.databaseId);
        assert.deepEqual(planned('pending').sort(), expected('active').sort());
        assert.deepEqual(planned('deferred').sort(), expected('suspended', 'moving').sort());
      }),
      RUNS,
    );
  });

  it('does not depend on the order in which the tenants come', () => {
    fc.assert(
      fc.property(
        anyWaves,
        anyMembers.chain((members) =>
          fc.tuple(fc.constant(members), fc.shuffledSubarray(members, { minLength: members.length })),
        ),
        (waves, [members, shuffled]) => {
          assert.deepEqual(plan(waves, members), plan(waves, shuffled));
        },
      ),
      RUNS,
    );
  });

  it('gives a share of the rest, rounded up and never none', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 60 }), (percent, size) => {
        const members = Array.from({ length: size }, (_, index) => member(`t${index}`));
        const [first] = plan([{ name: 'share', percent }], members);
        assert.equal(first?.targets.length, Math.max(1, Math.ceil((percent * size) / 100)));
      }),
      RUNS,
    );
  });

  it('lists what each target lacks, in the order of the release', () => {
    const waves = plan(undefined, [
      member('aa', { schemaVersion: null }),
      member('bb', { schemaVersion: '002_b' }),
    ]);
    assert.deepEqual(
      waves[0]?.targets.map((target) => target.missing),
      [['001_a', '002_b', '003_c'], ['003_c']],
    );
  });

  it('makes one wave `all` without waves, and a wave `rest` for those that none takes', () => {
    const members = [member('aa'), member('bb', { region: 'us' }), member('cc')];
    assert.deepEqual(shape(plan(undefined, members)), { all: ['aa', 'cc', 'bb'] });
    assert.deepEqual(shape(plan([{ name: 'eu', match: { region: 'eu' } }], members)), {
      eu: ['aa', 'cc'],
      rest: ['bb'],
    });
    assert.deepEqual(shape(plan([{ name: 'rest', count: 1 }], members)), {
      rest: ['aa'],
      'rest-2': ['cc', 'bb'],
    });
  });

  it('counts no suspended tenant as a canary', () => {
    const members = [member('aa', { tenantState: 'suspended' }), member('bb'), member('cc')];
    assert.deepEqual(shape(plan([{ name: 'canary', count: 1 }, { name: 'others' }], members)), {
      canary: ['bb'],
      others: ['cc', 'aa'],
    });
  });

  it('matches tenants by slug or id, servers, and all labels together', () => {
    const members = [
      member('aa', { labels: { canary: 'true', ring: '0' } }),
      member('bb', { labels: { canary: 'true' } }),
      member('cc', { serverName: 'eu-2' }),
      member('dd'),
    ];
    const waves = [
      { name: 'ring', match: { labels: { canary: 'true', ring: '0' } } },
      { name: 'named', match: { tenants: ['bb', 'tenant-dd'] } },
      { name: 'server', match: { server: ['eu-2'] } },
    ];
    assert.deepEqual(shape(plan(waves, members)), { ring: ['aa'], named: ['bb', 'dd'], server: ['cc'] });
  });

  it('waits for the wave before unless it says otherwise, and for all of them with the rest', () => {
    const waves = [
      { name: 'canary', count: 1 },
      { name: 'eu', match: { region: 'eu' }, dependsOn: ['canary'] },
      { name: 'us', match: { region: 'us' }, dependsOn: ['canary'] },
      { name: 'soon', match: { tier: 'premium' } },
      { name: 'at-once', match: { tier: 'enterprise' }, dependsOn: [] },
    ];
    const planned = plan(waves, [member('aa'), member('bb', { region: 'asia' })]);
    assert.deepEqual(
      planned.map((wave) => [wave.name, wave.dependsOn]),
      [
        ['canary', []],
        ['eu', [0]],
        ['us', [0]],
        ['soon', [2]],
        ['at-once', []],
        ['rest', [0, 1, 2, 3, 4]],
      ].filter(([name]) => planned.some((wave) => wave.name === name)),
    );
  });

  it('takes regions one after another, or evenly mixed', () => {
    const members = ['a', 'b', 'c', 'd'].flatMap((slug) => [
      member(`eu-${slug}`),
      ...(slug < 'c' ? [member(`us-${slug}`, { region: 'us' })] : []),
    ]);
    assert.deepEqual(shape(plan([{ name: 'all' }], members)).all, [
      ...['eu-a', 'eu-b', 'eu-c', 'eu-d', 'us-a', 'us-b'],
    ]);
    assert.deepEqual(shape(plan([{ name: 'all', match: { region: ['us', 'eu'] } }], members)).all, [
      ...['us-a', 'us-b', 'eu-a', 'eu-b', 'eu-c', 'eu-d'],
    ]);
    assert.deepEqual(shape(plan([{ name: 'all', regions: 'interleaved' }], members)).all, [
      ...['eu-a', 'us-a', 'eu-b', 'eu-c', 'us-b', 'eu-d'],
    ]);
  });

  it('defers what is outside its window to the instant when that opens', () => {
    const spec = RolloutSpec.parse({
      release: 'r',
      calendar: [{ match: { labels: { night: 'true' } }, open: { cron: '0 2 * * *', for: '2h' } }],
    });
    const members = [member('aa'), member('bb', { labels: { night: 'true' } })];
    const calendar = createCalendar(spec.calendar ?? []);
    const [wave] = planWaves(spec, { migrations: MIGRATIONS, members, calendar, now: NOW });
    assert.deepEqual(
      wave?.targets.map(({ state, reason, notBefore }) => [state, reason, notBefore?.toISOString()]),
      [
        ['pending', null, undefined],
        ['deferred', 'outside its window', '2026-11-22T02:00:00.000Z'],
      ],
    );
  });

  it('passes by whom a person has left behind, unless a wave names them', () => {
    const left = new Map([['database-aa', { by: 'sre', reason: 'broken data' }]]);
    const members = [member('aa'), member('bb')];
    const states = (waves: object[]) =>
      planWaves(RolloutSpec.parse({ release: 'r', waves }), { migrations: [], members, left, now: NOW })
        .flatMap((wave) => wave.targets)
        .map(({ databaseId, state, reason, skippedBy }) => [databaseId.slice(9), state, reason, skippedBy]);
    assert.deepEqual(states([{ name: 'all' }]), [
      ['bb', 'pending', null, null],
      ['aa', 'skipped', 'broken data', 'sre'],
    ]);
    assert.deepEqual(states([{ name: 'repaired', match: { tenants: ['aa'] } }]), [
      ['aa', 'pending', null, null],
      ['bb', 'pending', null, null],
    ]);
  });
});
