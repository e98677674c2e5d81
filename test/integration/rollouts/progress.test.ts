import assert from 'node:assert/strict';
import type { RolloutProgress } from '../../../contract/progress.ts';
import { RolloutProgress as Schema } from '../../../contract/progress.ts';
import { changesAfter } from '../../../control-plane/rollouts/view/change-store.ts';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import { readProgress } from '../../../control-plane/rollouts/view/progress.ts';
import { abortRollout } from '../../../control-plane/rollouts/verbs/abort.ts';
import { skipTarget } from '../../../control-plane/rollouts/verbs/skip.ts';
import { until } from '../../support/until.ts';
import { makeRolloutFleet, type RolloutFleet } from './rollout-fleet.ts';

describe('the progress of a rollout', () => {
  let fleet: RolloutFleet;

  beforeEach(async () => {
    fleet = await makeRolloutFleet(['aaa', 'bbb', 'ccc', 'us-ddd']);
  });
  afterEach(() => fleet.drop());

  const read = async (id: string, regions: string[] | null = null): Promise<RolloutProgress> => {
    const progress = await readProgress(fleet.registry, id, regions);
    assert.deepEqual(Schema.parse(progress), progress);
    return progress;
  };

  it('tells what is in flight and what it is at, what failed, who waits, and what happened', async () => {
    await fleet.spoil('aaa');
    await fleet.setTenantState('ccc', 'suspended');
    const gate = await fleet.close('bbb');
    const id = await fleet.start([{ name: 'all', budget: { failures: 1 } }]);
    const driven = fleet.drive(id);
    const seen = await until('bbb is seen at its second migration', async () => {
      const progress = await read(id);
      return progress.inFlight[0]?.migration === '002_gate' && progress;
    });
    assert.deepEqual(
      seen.inFlight.map(({ tenant, server, wave, state, tries }) => [tenant, server, wave, state, tries]),
      [['bbb', 'eu-1', 'all', 'running', 1]],
    );
    assert.deepEqual(
      seen.failures.map(({ code, count, example }) => [code, count, example.tenant]),
      [['migration_failed', 1, 'aaa']],
    );
    assert.deepEqual(
      seen.deferred.map(({ reason, count, nextAt, example }) => [reason, count, nextAt, example.tenant]),
      [['suspended', 1, null, 'ccc']],
    );
    assert.equal(seen.eta?.until, 'end');
    const told = seen.events.map(({ actor, what }) => `${actor}: ${what}`);
    assert.deepEqual(told, ['engine: wave all began', 'system: started', 'system: planned']);
    const foreign = await read(id, ['us']);
    assert.doesNotMatch(JSON.stringify(foreign), /\b(aaa|bbb|ccc|eu-1)\b/);
    await gate.open();
    await driven;
    const ended = await read(id);
    assert.deepEqual([ended.state, ended.inFlight, ended.eta], ['halted', [], null]);
    assert.match(ended.events[0]?.what ?? '', /^halted: .*1 target/);
    const asker = { caller: SYSTEM_CALLER, requestId: 'test' };
    await fleet.registry.transaction(async (tx) => {
      await skipTarget(tx, id, { ...asker, target: 'ccc', reason: 'is being repaired' });
      await abortRollout(tx, id, asker);
    });
    const { skipped } = await read(id);
    const said = skipped.map(({ reason, by, notReached, example }) => [
      reason,
      by,
      notReached,
      example.tenant,
    ]);
    assert.deepEqual(said, [['is being repaired', 'system', false, 'ccc']]);
    assert.deepEqual((await read(id, ['us'])).skipped, []);
  });

  it('tells of a server that does not answer once, and names it only to those of its region', async () => {
    fleet.down.add('eu');
    const id = await fleet.start([{ name: 'all', parallel: 1 }]);
    await fleet.drive(id);
    const { outages, failures, events } = await read(id);
    assert.deepEqual(
      outages.map(({ server, region, targets }) => [server, region, targets]),
      [['eu-1', 'eu', 3]],
    );
    assert.deepEqual(failures, []);
    assert.ok(events.some(({ what }) => what === 'server eu-1 does not answer'));
    const foreign = await read(id, ['us']);
    assert.deepEqual(foreign.outages, []);
    assert.ok(foreign.events.some(({ what }) => what === 'a server does not answer'));
  });

  it('keeps every change of state of the rollout and its waves, in order', async () => {
    const id = await fleet.start([{ name: 'canary', count: 1 }, { name: 'rest' }]);
    await fleet.drive(id);
    const changes = await changesAfter(fleet.registry, id, '0');
    assert.deepEqual(
      changes.map(({ wave, from, to }) => `${wave ?? '-'} ${from} ${to}`),
      [
        '- planned running',
        'canary pending running',
        'canary running passed',
        'rest pending running',
        'rest running passed',
        '- running succeeded',
      ],
    );
    const [, second] = changes;
    assert.deepEqual(await changesAfter(fleet.registry, id, second?.id ?? ''), changes.slice(2));
  });

  it('groups failures that differ in names and numbers only, and stays small and quick with 5,000 targets', async () => {
    const id = await fleet.start();
    await fleet.registry.query(
      `WITH made AS (
         INSERT INTO tenants (id, slug, name, tier, region, state)
         SELECT gen_random_uuid(), 'many-' || n, 'many', 'standard', 'eu', 'active' FROM generate_series(1, 5000) AS n
         RETURNING id, slug
       ), stored AS (
         INSERT INTO databases (id, tenant_id, server_id, name, owner_role, rw_role, login_a, login_b, state,
                                connection_limit)
         SELECT gen_random_uuid(), m.id, s.id, 't_' || md5(m.slug), 'o', 'r', 'a', 'b', 'ready', 10
           FROM made m, servers s WHERE s.region = 'eu'
         RETURNING id, tenant_id, server_id
       )
       INSERT INTO rollout_targets (rollout_id, tenant_id, database_id, server_id, wave, ordinal, state, missing,
                                    tries, error, duration_ms, finished_at)
       SELECT $1, s.tenant_id, s.id, s.server_id, 0, 100 + row_number() OVER (),
              CASE WHEN m.slug LIKE '%7' THEN 'failed' ELSE 'verified' END, '["001_notes"]', 1,
              CASE WHEN m.slug LIKE '%7' THEN jsonb_build_object('code', 'migration_failed',
                'message', 'row 17 of ' || m.slug || ' has id ' || md5(m.slug)) END, 100, now()
         FROM stored s JOIN made m ON m.id = s.tenant_id`,
      [id],
    );
    await fleet.registry.query('ANALYZE rollout_targets, tenants');
    await read(id);
    const started = performance.now();
    const progress = await read(id);
    // About 25 ms alone; a machine that does much else meanwhile still stays far below a redraw's 200.
    assert.ok(performance.now() - started < 200, `${performance.now() - started} ms`);
    assert.deepEqual(
      progress.failures.map(({ code, count }) => [code, count]),
      [['migration_failed', 500]],
    );
    assert.ok(JSON.stringify(progress).length < 10_000);
  });
});
