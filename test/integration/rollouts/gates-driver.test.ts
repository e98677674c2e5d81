import assert from 'node:assert/strict';
import { lastEvents } from '../../../control-plane/rollouts/view/events.ts';
import { listMeasurements } from '../../../control-plane/rollouts/gates/view-store.ts';
import { promoteRollout } from '../../../control-plane/rollouts/verbs/promote.ts';
import { pauseRollout, resumeRollout } from '../../../control-plane/rollouts/verbs/pause.ts';
import { retryRollout } from '../../../control-plane/rollouts/verbs/retry.ts';
import { skipTarget } from '../../../control-plane/rollouts/verbs/skip.ts';
import { until } from '../../support/until.ts';
import { serve } from './gates-fleet.ts';
import { ASKER, makeRolloutFleet, type RolloutFleet } from './rollout-fleet.ts';

describe('gates in a rollout', () => {
  let fleet: RolloutFleet;
  let answer = { status: 200, body: '' };
  let page: { url: string; close(): Promise<void> };

  before(async () => {
    page = await serve((_request, response) => void response.writeHead(answer.status).end(answer.body));
  });
  after(() => page.close());
  beforeEach(async () => {
    fleet = await makeRolloutFleet(['aaa', 'bbb', 'ccc']);
    answer = { status: 200, body: '' };
  });
  afterEach(() => fleet.drop());

  const WAVES = [{ name: 'canary', count: 1, gates: ['probe'] }, { name: 'rest' }];
  const outcomes = async (id: string) =>
    (await listMeasurements(fleet.registry, id, { limit: 100 })).map(
      ({ wave, outcome }) => `${wave} ${outcome}`,
    );
  const verb = (act: typeof retryRollout, id: string) =>
    fleet.registry.transaction((tx) => act(tx, id, ASKER));
  const value = (number: string) =>
    JSON.stringify({ status: 'success', data: { resultType: 'vector', result: [{ value: [1, number] }] } });

  it('halt it where one fails, and let it go on by a retry that measures anew', async () => {
    answer.status = 503;
    const id = await fleet.start(WAVES, { gates: { probe: { http: page.url } } });
    await fleet.drive(id);
    const halted = await fleet.read(id);
    assert.deepEqual([halted.state, halted.cause?.code], ['halted', 'gate_failed']);
    assert.deepEqual(await fleet.states(id), { aaa: 'verified', bbb: 'pending', ccc: 'pending' });
    assert.deepEqual(
      halted.waves.map(({ state, gates }) => [state, gates.map((gate) => `${gate.gate} ${gate.state}`)]),
      [
        ['failed', ['probe failed']],
        ['pending', []],
      ],
    );
    answer.status = 200;
    await verb(retryRollout, id);
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
    assert.deepEqual(await outcomes(id), ['canary success', 'canary failure']);
  });

  it('pause it without data; a resume asks again, a promotion passes that gate once', async () => {
    answer.body = value('NaN');
    const gates = { probe: { prometheus: page.url, query: 'up', max: 1 } };
    const id = await fleet.start(WAVES, { gates });
    for (let round = 1; round <= 2; round += 1) {
      await fleet.drive(id);
      const paused = await fleet.read(id);
      assert.deepEqual([paused.state, paused.cause?.code], ['paused', 'gate_inconclusive']);
      assert.equal((await outcomes(id)).length, round);
      if (round === 1) await verb(resumeRollout, id);
    }
    await verb(promoteRollout, id);
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
    assert.equal((await outcomes(id)).length, 2);
  });

  it('pass on nothing only where nothing was to be done: a canary that was skipped is no proof', async () => {
    const gates = { probe: { http: page.url } };
    const named = [
      { name: 'canary', match: { tenants: ['aaa'] }, bake: '1h', gates: ['probe'] },
      { name: 'rest' },
    ];
    const id = await fleet.start(named, { gates });
    await fleet.registry.transaction((tx) => skipTarget(tx, id, { ...ASKER, target: 'aaa', reason: 'busy' }));
    for (let round = 1; round <= 2; round += 1) {
      await fleet.drive(id);
      const paused = await fleet.read(id);
      assert.deepEqual([paused.state, paused.cause?.code], ['paused', 'gate_without_data']);
      if (round === 1) await verb(resumeRollout, id);
    }
    assert.deepEqual(await fleet.states(id), { aaa: 'skipped', bbb: 'pending', ccc: 'pending' });
    await verb(promoteRollout, id);
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
    assert.deepEqual(await outcomes(id), []);
  });

  it('pass a wave in which all are at the release already, and say so', async () => {
    await fleet.registry.query(
      `UPDATE databases SET schema_version = '002_gate'
        WHERE tenant_id = (SELECT id FROM tenants WHERE slug = 'aaa')`,
    );
    const named = [{ name: 'canary', match: { tenants: ['aaa'] }, gates: ['probe'] }, { name: 'rest' }];
    const id = await fleet.start(named, { gates: { probe: { http: page.url } } });
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
    const told = await lastEvents(fleet.registry, id, { regions: null, limit: 20 });
    assert.ok(told.some(({ what }) => /^has no target in wave canary/.test(what)));
  });

  it('stop it after the target that fails one', async () => {
    const { database } = fleet.database('bbb').address;
    const sql = `select count(*) where current_database() = '${database}'`;
    const each = { sql, max: 0, on: 'target' };
    const id = await fleet.start([{ name: 'all', parallel: 1, gates: ['each'] }], { gates: { each } });
    await fleet.drive(id);
    const halted = await fleet.read(id);
    assert.equal(halted.state, 'halted');
    assert.match(halted.cause?.message ?? '', /gate each failed once.*; the first: bbb$/);
    assert.deepEqual(await fleet.states(id), { aaa: 'verified', bbb: 'verified', ccc: 'pending' });
  });

  it('watch a bake to its end, also while a person has paused it', async () => {
    const gates = { probe: { http: page.url, interval: '1s' } };
    const id = await fleet.start([{ name: 'all', bake: '60s', gates: ['probe'] }], { gates });
    // Measurements this close to each other are sat out by the driver.
    const driving = fleet.drive(id);
    await until('the gate has passed its first look', async () => (await outcomes(id)).length > 0);
    assert.equal((await fleet.read(id)).waves[0]?.state, 'baking');
    await verb(pauseRollout, id);
    answer.status = 500;
    await driving;
    assert.equal((await fleet.read(id)).state, 'halted');
    assert.equal((await fleet.read(id)).cause?.code, 'gate_failed');
  });

  it('watch everything where no wave names one', async () => {
    const id = await fleet.start(undefined, { gates: { probe: { http: page.url } } });
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
    assert.ok((await outcomes(id)).length >= 1);
  });
});
