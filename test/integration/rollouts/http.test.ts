import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import type { CreatedKey } from '../../../contract/access.ts';
import type { GateMeasurement } from '../../../contract/gate.ts';
import type { Page } from '../../../contract/page.ts';
import type { RolloutChange, RolloutProgress, RolloutStanding } from '../../../contract/progress.ts';
import { Rollout, type RolloutSummary, type RolloutTarget } from '../../../contract/rollout.ts';
import { apiClient, type Api } from '../../support/api.ts';
import { startFleet, type Fleet } from '../../support/fleet.ts';
import { until } from '../../support/until.ts';

const EXTRA = { upSql: 'CREATE TABLE extra (n int)', downSql: null };

async function publish(fleet: Fleet, name: string, sql: string[]): Promise<void> {
  const current = await fleet.admin.ok<Page<{ name: string }>>('GET', '/api/v1/releases');
  const { steps } = await fleet.admin.ok<{
    steps: { name: string; upSql: string; downSql: string | null }[];
  }>('GET', `/api/v1/releases/${current.items[0]?.name}`);
  const known = steps.map(({ name: step, upSql, downSql }) => ({
    name: step,
    file: `${step}.sql`,
    upSql,
    downSql,
  }));
  const added = sql.map((upSql, index) => ({
    ...EXTRA,
    name: `9${name}_${index}`,
    file: `9${name}_${index}.sql`,
    upSql,
  }));
  await fleet.admin.ok('POST', '/api/v1/releases', { name, migrations: [...known, ...added] });
}

/** All events of the rollout's stream, until the server ends it. */
async function follow(
  fleet: Fleet,
  id: string,
  { token = fleet.adminToken, after }: { token?: string; after?: string } = {},
): Promise<EventSourceMessage[]> {
  const events: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => void events.push(event) });
  const response = await fetch(`${fleet.url}/api/v1/rollouts/${id}/events`, {
    headers: { authorization: `Bearer ${token}`, ...(after === undefined ? {} : { 'last-event-id': after }) },
  });
  assert.equal(response.status, 200);
  parser.feed(await response.text());
  return events;
}

describe('rollout API', () => {
  let fleet: Fleet;
  let number = 0;

  async function nextRelease(): Promise<string> {
    number += 1;
    await publish(fleet, `r${number}`, [`CREATE TABLE extra_${number} (n int)`]);
    return `r${number}`;
  }
  async function tokenOf(role: string, regions: string[]): Promise<string> {
    const body = { name: `${role}-${regions.join('-')}-${randomUUID()}`, role, regions };
    return (await fleet.admin.ok<CreatedKey>('POST', '/api/v1/keys', body)).token;
  }
  const keyOf = async (role: string, regions: string[] = []): Promise<Api> =>
    apiClient(fleet.url, await tokenOf(role, regions));
  const over = (id: string): Promise<Rollout> =>
    until(`rollout ${id} ends`, async () => {
      const rollout = await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);
      return rollout.finishedAt === null ? undefined : rollout;
    });

  before(async function () {
    this.timeout(120_000);
    fleet = await startFleet();
    await fleet.createTenant('aaa');
    await fleet.createTenant('bbb');
    await fleet.createTenant('ccc', 'us');
  });
  after(() => fleet.stop());

  it('starts a rollout, answers where it is, and streams it to its end', async () => {
    const release = await nextRelease();
    const waves = [{ name: 'canary', count: 1 }, { name: 'rest' }];
    const answer = await fleet.admin.call<Rollout>('POST', '/api/v1/rollouts', { release, waves });
    assert.equal(answer.status, 201);
    assert.equal(answer.headers.location, `/api/v1/rollouts/${answer.body.id}`);
    const events = await follow(fleet, answer.body.id);
    assert.equal(events.at(-1)?.event, 'end');
    const last = JSON.parse(events.at(-2)?.data ?? '{}') as RolloutSummary;
    assert.deepEqual([last.state, last.counts.verified], ['succeeded', 3]);
    const rollout = await over(answer.body.id);
    assert.deepEqual(Rollout.parse(rollout), rollout);
    const changes = events.filter(({ event }) => event === 'change');
    assert.deepEqual(
      changes.map(({ data }) => JSON.parse(data) as RolloutChange).map(({ wave, to }) => [wave, to]),
      [
        [null, 'running'],
        ['canary', 'running'],
        ['canary', 'passed'],
        ['rest', 'running'],
        ['rest', 'passed'],
        [null, 'succeeded'],
      ],
    );
    const after = changes[3]?.id ?? '';
    const resumed = await follow(fleet, rollout.id, { after });
    assert.deepEqual(
      resumed.map(({ event, id }) => [event, id]),
      [
        ['change', changes[4]?.id],
        ['change', changes[5]?.id],
        ['rollout', undefined],
        ['end', undefined],
      ],
    );
    const page = await fleet.admin.ok<Page<RolloutTarget>>(
      'GET',
      `/api/v1/rollouts/${rollout.id}/targets?limit=2`,
    );
    const rest = await fleet.admin.ok<Page<RolloutTarget>>(
      'GET',
      `/api/v1/rollouts/${rollout.id}/targets?limit=2&cursor=${page.nextCursor}`,
    );
    assert.deepEqual([...page.items, ...rest.items], rollout.targets);
    assert.equal(rest.nextCursor, null);
    const failed = `/api/v1/rollouts/${rollout.id}/targets?state=failed`;
    assert.deepEqual((await fleet.admin.ok<Page<RolloutTarget>>('GET', failed)).items, []);
    const one = await fleet.admin.ok<RolloutTarget>('GET', `/api/v1/rollouts/${rollout.id}/targets/bbb`);
    assert.deepEqual(
      one,
      rollout.targets.find(({ tenant }) => tenant === 'bbb'),
    );
    const at = `/api/v1/rollouts/${rollout.id}/progress`;
    const progress = await fleet.admin.ok<RolloutProgress>('GET', at);
    assert.deepEqual([progress.state, progress.total, progress.waves.length], ['succeeded', 3, 2]);
    const metrics = await (await fetch(`${fleet.url}/metrics`)).text();
    assert.match(metrics, new RegExp(`^flotilla_rollout_info\\{release="${release}"\\} 1$`, 'm'));
  });

  it('shows how the gates stand, and every measurement, newest first', async () => {
    const release = await nextRelease();
    const gates = {
      rows: { sql: 'select 1', equals: 1 },
      small: { sql: 'select 2', max: 1, dryRun: true },
    };
    const waves = [
      { name: 'canary', match: { region: 'eu' }, gates: ['rows'] },
      { name: 'rest', gates: ['small'] },
    ];
    const { id } = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts', { release, waves, gates });
    const ended = await over(id);
    assert.deepEqual(
      ended.waves.map((wave) => wave.gates.map(({ gate, state, dryRun }) => [gate, state, dryRun])),
      [[['rows', 'passed', false]], [['small', 'failed', true]]],
    );
    const path = `/api/v1/rollouts/${id}/measurements`;
    const page = await fleet.admin.ok<Page<GateMeasurement>>('GET', `${path}?limit=1`);
    const next = await fleet.admin.ok<Page<GateMeasurement>>(
      'GET',
      `${path}?limit=1&cursor=${page.nextCursor}`,
    );
    assert.deepEqual(
      [...page.items, ...next.items].map(({ wave, gate, tenant, value }) => [wave, gate, tenant, value]),
      [
        ['rest', 'small', 'ccc', 2],
        ['canary', 'rows', 'aaa', 1],
      ],
    );
    assert.equal(next.nextCursor, null);
    // The last is of a tenant in us, which an operator of eu may not see.
    const eu = await keyOf('viewer', ['eu']);
    const seen = await eu.ok<Page<GateMeasurement>>('GET', `${path}?gate=small`);
    assert.deepEqual([seen.items[0]?.tenant, seen.items[0]?.value, seen.items[0]?.samples], [null, null, 1]);
  });

  it('plans, starts, and lists by state and release', async () => {
    const release = await nextRelease();
    const planned = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts/plan', { release });
    assert.equal(planned.state, 'planned');
    assert.deepEqual(
      planned.waves.map((wave) => [wave.name, wave.implicit, wave.counts.pending]),
      [['all', true, 3]],
    );
    const stale = await fleet.admin.call(
      'POST',
      `/api/v1/rollouts/${planned.id}/start`,
      {},
      { 'if-match': '"99"' },
    );
    assert.equal(stale.status, 412);
    const begun = await fleet.admin.ok<RolloutStanding>('POST', `/api/v1/rollouts/${planned.id}/start`, {});
    assert.deepEqual([begun.state, begun.total, 'targets' in begun], ['running', 3, false]);
    await over(planned.id);
    const list = await fleet.admin.ok<Page<RolloutSummary>>(
      'GET',
      `/api/v1/rollouts?release=${release}&state=succeeded`,
    );
    assert.deepEqual(
      list.items.map((rollout) => rollout.id),
      [planned.id],
    );
    const first = await fleet.admin.ok<Page<RolloutSummary>>('GET', '/api/v1/rollouts?limit=1');
    const second = await fleet.admin.ok<Page<RolloutSummary>>(
      'GET',
      `/api/v1/rollouts?limit=1&cursor=${first.nextCursor}`,
    );
    assert.notEqual(first.items[0]?.id, second.items[0]?.id);
  });

  it('answers bad calls clearly and changes nothing', async () => {
    const release = await nextRelease();
    const count = async () => (await fleet.registry.query('SELECT 1 FROM rollouts')).rowCount;
    const before = await count();
    const refused = async (api: Api, path: string, body: object, status: number, code: string) => {
      const answer = await api.call<{ code: string }>('POST', `/api/v1/rollouts${path}`, body);
      assert.deepEqual([answer.status, answer.body.code], [status, code]);
    };
    await refused(fleet.admin, '', { release: 'nope' }, 404, 'release_not_found');
    await refused(fleet.admin, `/${randomUUID()}/pause`, {}, 404, 'rollout_not_found');
    await refused(await keyOf('operator', ['eu']), '', { release }, 403, 'region_forbidden');
    await refused(await keyOf('viewer'), '', { release }, 403, 'forbidden');
    const lost = { name: 'canary', dependsOn: ['nowhere'] };
    await refused(fleet.admin, '', { release, waves: [lost] }, 400, 'spec_invalid');
    const unknown = await fleet.admin.call('POST', '/api/v1/rollouts', {
      release,
      waves: [{ nmae: 'canary' }],
    });
    assert.ok(unknown.status === 400 || unknown.status === 422);
    assert.match(JSON.stringify(unknown.body), /nmae/);
    assert.equal(await count(), before);
  });

  it('shows a reader of one region only the targets there', async () => {
    const release = await nextRelease();
    const planned = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts/plan', { release });
    const token = await tokenOf('viewer', ['us']);
    const reader = apiClient(fleet.url, token);
    const seen = await reader.ok<Rollout>('GET', `/api/v1/rollouts/${planned.id}`);
    assert.deepEqual(
      seen.targets.map((target) => target.tenant),
      ['ccc'],
    );
    assert.equal(seen.total, 1);
    const list = await reader.ok<Page<RolloutSummary>>('GET', `/api/v1/rollouts?release=${release}`);
    assert.deepEqual(
      list.items.map((rollout) => rollout.total),
      [1],
    );
    await fleet.admin.ok('POST', `/api/v1/rollouts/${planned.id}/abort`, {});
    const event = (await follow(fleet, planned.id, { token })).find(({ event: name }) => name === 'rollout');
    assert.equal((JSON.parse(event?.data ?? '{}') as RolloutSummary).total, 1);
    const path = `/api/v1/rollouts/${planned.id}/targets`;
    assert.equal((await reader.ok<RolloutTarget>('GET', `${path}/ccc`)).state, 'skipped');
    const foreign = await reader.call<{ code: string }>('GET', `${path}/aaa`);
    assert.deepEqual([foreign.status, foreign.body.code], [404, 'target_not_found']);
  });
});
