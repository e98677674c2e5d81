import assert from 'node:assert/strict';
import { compareLive } from '../../../control-plane/drift/compare.ts';
import { insertReference } from '../../../control-plane/drift/reference-store.ts';
import { openReferences } from '../../../control-plane/drift/reference.ts';
import { acceptDifference, targetsById, upsertFindings } from '../../../control-plane/drift/store.ts';
import { releaseChecksum } from '../../../control-plane/releases/release.ts';
import { readLiveSchema } from '../../../control-plane/releases/schema-live.ts';
import type { Verdict } from '../../../control-plane/rollouts/engine/gating.ts';
import { restartGates } from '../../../control-plane/rollouts/gates/store.ts';
import { listMeasurements, type ShownMeasurement } from '../../../control-plane/rollouts/gates/view-store.ts';
import { gateStatuses } from '../../../control-plane/rollouts/gates/view.ts';
import { until } from '../../support/until.ts';
import { withClient } from '../../../platform/pg.ts';
import { run } from '../releases/tenant-database.ts';
import { makeGateFleet, type GateFleet, type OpenedGates, type TestRollout } from './gates-fleet.ts';

const SLUGS = ['aaa', 'bbb', 'ccc'];

function later(instant: Date, seconds: number): Date {
  return new Date(instant.getTime() + seconds * 1_000);
}

describe('gates on real databases', () => {
  let fleet: GateFleet;

  before(async function () {
    this.timeout(60_000);
    fleet = await makeGateFleet(SLUGS);
    for (const slug of SLUGS) {
      await run(
        fleet.database(slug).superuser,
        `CREATE TABLE tasks (id int, project int); ALTER TABLE tasks OWNER TO ${fleet.database(slug).ownerRole}`,
      );
    }
  });
  after(() => fleet.drop());

  const shown = (rollout: TestRollout): Promise<ShownMeasurement[]> =>
    listMeasurements(fleet.registry, rollout.id, { limit: 100 });
  /** One measurement of a gate over the wave. */
  async function once(gate: object, more: Parameters<GateFleet['reopen']>[1] = {}) {
    const rollout = await fleet.rollout({ probe: gate });
    const { gates } = await fleet.reopen(rollout, more);
    const verdict = await gates.measure(later(rollout.doneAt, 'metric' in gate ? 121 : 0));
    const [row] = await shown(rollout);
    return { verdict, row };
  }

  describe('by SQL', () => {
    it('ask every migrated database as its owner, and name the first that is out of the limits', async () => {
      const rows = { sql: 'select count(*) from tasks where project is null', equals: 0 };
      const good = await once(rows);
      assert.deepEqual([good.verdict.state, good.row?.outcome, good.row?.samples], ['go', 'success', 3]);
      await run(fleet.database('bbb').superuser, 'INSERT INTO tasks VALUES (1, NULL), (2, NULL)');
      const bad = await once(rows);
      assert.deepEqual([bad.verdict.state, bad.verdict.cause?.code], ['halt', 'gate_failed']);
      assert.deepEqual(bad.verdict.cause?.first, { tenant: 'bbb', region: 'eu' });
      assert.deepEqual([bad.row?.tenant, bad.row?.value, bad.row?.samples], ['bbb', 2, 3]);
      assert.equal(bad.row?.message, '1 of 3 databases: not 0');
      await run(fleet.database('bbb').superuser, 'TRUNCATE tasks');
    });

    it('take NULL, no row, NaN and too few databases for no data', async () => {
      for (const sql of ['select null::int', 'select 1 where false', "select 'NaN'::float8"]) {
        const { verdict, row } = await once({ sql, max: 1 });
        assert.deepEqual([verdict.state, verdict.cause?.code], ['pause', 'gate_inconclusive'], sql);
        assert.equal(row?.outcome, 'inconclusive');
      }
      const { row } = await once({ sql: 'select 1', max: 1, minSamples: 4 });
      assert.deepEqual([row?.outcome, row?.samples], ['inconclusive', 3]);
    });

    it('can write nothing, leave nothing and run one query only', async () => {
      const attempts: [string, RegExp][] = [
        ['select 1; drop table tasks', /sqlstate_42601$/],
        ['delete from tasks returning 1', /sqlstate_42601$/],
        ['with gone as (delete from tasks returning 1) select count(*) from gone', /sqlstate_0A000$/],
        ["select nextval(pg_get_serial_sequence('tasks', 'id')) from lo_create(4711)", /sqlstate_25006$/],
        ['select no_such_thing', /sqlstate_42703$/],
        ["select 'secret of acme'", /the answer is no number$/],
      ];
      for (const [sql, words] of attempts) {
        const { verdict, row } = await once({ sql, max: 1 });
        assert.deepEqual([verdict.state, row?.outcome], ['wait', 'error'], sql);
        assert.match(row?.message ?? '', words);
        assert.doesNotMatch(row?.message ?? '', /secret/);
      }
    });
  });

  describe('by checks', () => {
    it('compare each schema with that of the canary', async () => {
      const same = await once({ check: 'schema' });
      assert.deepEqual([same.verdict.state, same.row?.samples], ['go', 3]);
      await run(fleet.database('ccc').superuser, 'ALTER TABLE tasks ADD COLUMN odd int');
      const other = await once({ check: 'schema' });
      assert.deepEqual([other.verdict.state, other.row?.tenant], ['halt', 'ccc']);
      assert.equal(other.row?.message, "1 of 3 databases: the schema is not the canary's");
      await run(fleet.database('ccc').superuser, 'ALTER TABLE tasks DROP COLUMN odd');
    });

    it('bear just the difference that was accepted of a database, be it the canary itself', async () => {
      const { deps } = await fleet.reopen(await fleet.rollout({ probe: { check: 'schema' } }));
      const references = await openReferences(deps);
      const { rows } = await fleet.registry.query<{ id: string; slug: string }>(
        'SELECT d.id, t.slug FROM databases d JOIN tenants t ON t.id = d.tenant_id ORDER BY t.slug',
      );
      const look = async (slug: string) => {
        const [target] = await targetsById(fleet.registry, [rows.find((row) => row.slug === slug)?.id ?? '']);
        assert.ok(target);
        const address = await deps.servers.migrator(target.serverId, target);
        const live = await readLiveSchema(address, { applicationName: 'test', roles: target });
        assert.ok(live);
        return { target, live };
      };
      const accept = async (slug: string): Promise<void> => {
        const { target, live } = await look(slug);
        const finding = await compareLive(target, live, references);
        await upsertFindings(fleet.registry, [finding]);
        const { databaseId, fingerprint } = finding;
        const accepted = { databaseId, fingerprint, by: 'test', reason: 'its own report' };
        assert.ok(await acceptDifference(fleet.registry, accepted));
      };
      const check = async () => (await once({ check: 'schema' })).row;
      const alter = (slug: string, change: string) =>
        run(fleet.database(slug).superuser, `ALTER TABLE tasks ${change}`);
      // What no migration has made here is what they make, as far as the registry knows.
      const { live } = await look('aaa');
      const key = { checksum: releaseChecksum([]), serverMajor: live.serverMajor };
      await insertReference(fleet.registry, key, live.schema);

      await alter('ccc', 'ADD COLUMN odd int');
      assert.equal((await check())?.outcome, 'failure');
      await accept('ccc');
      assert.equal((await check())?.outcome, 'success');
      await alter('aaa', 'ADD COLUMN own int');
      assert.deepEqual([(await check())?.outcome, (await check())?.tenant], ['failure', 'bbb']);
      await accept('aaa');
      assert.equal((await check())?.outcome, 'success', 'also where it is the canary');
      await alter('ccc', 'ADD COLUMN more int');
      assert.deepEqual([(await check())?.outcome, (await check())?.tenant], ['failure', 'ccc']);
      await alter('ccc', 'DROP COLUMN odd, DROP COLUMN more');
      await alter('aaa', 'DROP COLUMN own');
      await fleet.registry.query('DELETE FROM database_drift');
    });

    it('find indexes that a failed build has left', async () => {
      const { superuser } = fleet.database('aaa');
      assert.equal((await once({ check: 'invalid_indexes' })).verdict.state, 'go');
      await run(superuser, 'INSERT INTO tasks VALUES (1, 1), (1, 1)');
      await assert.rejects(run(superuser, 'CREATE UNIQUE INDEX CONCURRENTLY one ON tasks (id)'));
      const { verdict, row } = await once({ check: 'invalid_indexes' });
      assert.deepEqual([verdict.state, row?.tenant, row?.value], ['halt', 'aaa', 1]);
      await run(superuser, 'DROP INDEX one; TRUNCATE tasks');
    });

    it('see who waits for a lock for more than a second, in which database', async () => {
      const { superuser } = fleet.database('bbb');
      assert.equal((await once({ check: 'blocked_sessions' })).verdict.state, 'go');
      await withClient(superuser, { applicationName: 'holder' }, async (holder) => {
        await holder.query('BEGIN; LOCK TABLE tasks');
        const waiting = run(superuser, 'SELECT count(*) FROM tasks');
        await until('the gate sees the wait', async () => {
          const { verdict, row } = await once({ check: 'blocked_sessions' });
          return verdict.state === 'halt' && row?.tenant === 'bbb' && row.value === 1;
        });
        await holder.query('COMMIT');
        await waiting;
      });
    });

    it('take a server without replicas for one that keeps up', async () => {
      const { verdict, row } = await once({ check: 'replication_lag' });
      assert.deepEqual([verdict.state, row?.value, row?.samples], ['go', 0, 1]);
      assert.equal(row?.message, 'no replicas');
    });
  });

  describe('by traffic', () => {
    const traffic = (now: object, then: object = {}) => {
      const asked: [number, Date, Date][] = [];
      const trafficOf = (_db: unknown, ids: readonly string[], from: Date, to: Date) => {
        asked.push([ids.length, from, to]);
        const none = { requests: 0, errors: 0, p95Ms: null };
        return Promise.resolve({ ...none, ...(asked.length === 1 ? now : then) });
      };
      return { asked, trafficOf };
    };
    const rate = { metric: 'requests.error_rate', max: 0.01, over: '5m', minSamples: 50 };

    it('look at exactly the migrated databases since the last was migrated', async () => {
      const { asked, trafficOf } = traffic({ requests: 1_000, errors: 20, p95Ms: 12 });
      const { verdict, row } = await once(rate, { trafficOf });
      assert.deepEqual([verdict.state, row?.value, row?.samples], ['halt', 0.02, 1_000]);
      assert.equal(row?.message, '2 % errors over 1000 requests, above the maximum of 0.01');
      const [[databases, from, to] = []] = asked;
      assert.ok(from && to && to.getTime() - from.getTime() < 125_000);
      assert.equal(databases, 3);
    });

    it('take few requests, and no reports at all, for no data', async () => {
      const few = await once(rate, traffic({ requests: 49, errors: 0, p95Ms: 12 }));
      assert.deepEqual([few.verdict.state, few.row?.samples], ['pause', 49]);
      const none = await once({ ...rate, minSamples: 1 }, traffic({}));
      assert.equal(none.verdict.cause?.code, 'gate_inconclusive');
    });

    it('hear it from what the tenant apps report', async () => {
      const report = (slug: string, startsAt: Date, latency: number[], errors: number) =>
        fleet.registry.query(
          `INSERT INTO app_traffic (database_id, starts_at, ends_at, errors, latency)
           SELECT d.id, $2, $3, $4, $5 FROM databases d JOIN tenants t ON t.id = d.tenant_id WHERE t.slug = $1`,
          [slug, startsAt, later(startsAt, 60), errors, latency],
        );
      const rollout = await fleet.rollout({ rate });
      await report('aaa', later(rollout.doneAt, -70), [0, 0, 500], 500);
      await report('aaa', later(rollout.doneAt, 10), [0, 0, 50], 0);
      await report('bbb', later(rollout.doneAt, 20), [0, 0, 50], 1);
      const { gates } = await fleet.reopen(rollout);
      assert.equal((await gates.measure(later(rollout.doneAt, 120))).state, 'go');
      const [row] = await shown(rollout);
      assert.deepEqual([row?.outcome, row?.value, row?.samples], ['success', 0.01, 100]);
    });

    it('compare with the same tenants in the time before the wave', async () => {
      const p95 = { metric: 'requests.latency_p95', maxIncrease: 2 };
      const now = { requests: 100, errors: 0, p95Ms: 30 };
      const outcome = async (spec: object, before: object, found: object = now) =>
        (await once(spec, traffic(found, before))).row?.outcome;
      assert.equal(await outcome(p95, { requests: 100, p95Ms: 16 }), 'success');
      assert.equal(await outcome(p95, { requests: 100, p95Ms: 14 }), 'failure');
      assert.equal(await outcome(p95, { requests: 0 }), 'inconclusive');
      // A past without errors is no reason to stop for the first.
      const errors = { metric: 'requests.error_rate', maxIncrease: 2 };
      const spotless = { requests: 100, errors: 0, p95Ms: 1 };
      assert.equal(await outcome(errors, spotless, { requests: 100, errors: 2, p95Ms: 1 }), 'success');
      assert.equal(await outcome(errors, spotless, { requests: 100, errors: 3, p95Ms: 1 }), 'failure');
    });
  });

  describe('as rows', () => {
    const watch = { sql: 'select 1', equals: 1, interval: '10s' };

    /** Measures in time from `from` on, `count` times. */
    async function go(opened: OpenedGates, from: Date, count: number): Promise<Verdict[]> {
      const verdicts: Verdict[] = [];
      for (let step = 0; step < count; step += 1) {
        verdicts.push(await opened.gates.measure(later(from, step * 10)));
      }
      return verdicts;
    }

    it('go on within a bake wherever it is restarted, and pass with its end', async () => {
      const rollout = await fleet.rollout({ watch }, { state: 'baking', bake: '60s' });
      const first = await go(await fleet.reopen(rollout), rollout.doneAt, 3);
      assert.deepEqual(first.at(-1), { state: 'wait', nextAt: later(rollout.doneAt, 30) });
      const second = await go(await fleet.reopen(rollout), later(rollout.doneAt, 30), 4);
      assert.deepEqual(
        second.map(({ state }) => state),
        ['wait', 'wait', 'wait', 'go'],
      );
      assert.equal((await shown(rollout)).length, 7);
    });

    it('do not pass a bake that nobody watched, until a person lets them begin anew', async () => {
      const rollout = await fleet.rollout({ watch, other: watch }, { state: 'baking', bake: '60s' });
      await go(await fleet.reopen(rollout), rollout.doneAt, 3);
      const { gates } = await fleet.reopen(rollout);
      const back = await gates.measure(later(rollout.doneAt, 320));
      assert.deepEqual([back.state, back.cause?.code], ['pause', 'gate_inconclusive']);
      assert.match(back.cause?.message ?? '', /because nobody measured/);
      // Nothing is measured any more, and the verdict stays.
      assert.equal((await gates.measure(later(rollout.doneAt, 330))).state, 'pause');
      assert.equal((await shown(rollout)).length, 6);
      const [status] = (await statuses(rollout)).get(0) ?? [];
      assert.deepEqual([status?.state, status?.count, status?.nextAt], ['inconclusive', 7, null]);

      await fleet.registry.transaction((tx) => restartGates(tx, rollout.id, 'unfinished'));
      const { rows } = await fleet.registry.query<{ now: Date }>('SELECT clock_timestamp() AS now');
      assert.equal((await gates.measure(rows[0]?.now ?? new Date())).state, 'wait');
      assert.equal((await shown(rollout)).length, 8);
    });

    const statuses = (rollout: TestRollout, regions: string[] | null = null) =>
      gateStatuses(fleet.registry, rollout, [rollout.wave], regions);

    it('are counted and shown for each gate, without the tenant for those who may not see it', async () => {
      const spec = {
        quick: { sql: 'select 2', max: 1, dryRun: true },
        slow: { ...watch, initialDelay: '60s' },
      };
      const rollout = await fleet.rollout(spec);
      const { gates } = await fleet.reopen(rollout);
      const verdict = await gates.measure(rollout.doneAt);
      assert.deepEqual(verdict, { state: 'wait', nextAt: later(rollout.doneAt, 60) });
      const [quick, slow] = (await statuses(rollout)).get(0) ?? [];
      assert.deepEqual([quick?.state, quick?.dryRun, quick?.counts.failure], ['failed', true, 1]);
      assert.deepEqual([quick?.last?.tenant, quick?.last?.value], ['aaa', 2]);
      assert.deepEqual([slow?.state, slow?.last, slow?.scope], ['waiting', null, 'wave']);
      const [hidden] = (await statuses(rollout, ['us'])).get(0) ?? [];
      assert.deepEqual([hidden?.last?.tenant, hidden?.last?.value], [null, null]);
    });

    it('are written by the holder of the lease only', async () => {
      const rollout = await fleet.rollout({ watch });
      const zombie = await fleet.reopen(rollout);
      const { gates } = await fleet.reopen(rollout);
      await assert.rejects(zombie.gates.measure(rollout.doneAt), { name: 'LeaseLostError' });
      assert.deepEqual(await shown(rollout), []);
      assert.equal((await gates.measure(rollout.doneAt)).state, 'go');
    });
  });

  describe('of each target', () => {
    const each = { sql: 'select count(*) from tasks', equals: 0, on: 'target' };
    const idOf = async (slug: string): Promise<string> => {
      const { rows } = await fleet.registry.query<{ id: string }>(
        'SELECT d.id FROM databases d JOIN tenants t ON t.id = d.tenant_id WHERE t.slug = $1',
        [slug],
      );
      return rows[0]?.id ?? '';
    };

    it('ask at once about the one that is done, and at the end about those that were not asked', async () => {
      const rollout = await fleet.rollout({ each }, { state: 'running' });
      const { gates } = await fleet.reopen(rollout);
      const [aaa, ccc] = [await idOf('aaa'), await idOf('ccc')];
      const asked = await Promise.all([aaa, ccc].map((id) => gates.afterTarget({ databaseId: id } as never)));
      assert.deepEqual(asked, [{ state: 'go' }, { state: 'go' }]);
      await fleet.registry.query(
        "UPDATE rollout_waves SET state = 'gating', done_at = now() WHERE rollout_id = $1",
        [rollout.id],
      );
      assert.equal((await gates.measure(later(new Date(), 1))).state, 'go');
      assert.deepEqual((await shown(rollout)).map(({ tenant }) => tenant).sort(), SLUGS);
    });

    it('ask again in time about the one whose source did not answer, while targets run', async () => {
      const rollout = await fleet.rollout({ each: { ...each, interval: '20s' } }, { state: 'running' });
      let away = true;
      const { deps } = await fleet.reopen(rollout);
      const migrator: typeof deps.servers.migrator = (...place) =>
        away ? Promise.reject(new Error('no way there')) : deps.servers.migrator(...place);
      const opened = await fleet.reopen(rollout, { servers: { ...deps.servers, migrator } });
      const target = { databaseId: await idOf('aaa') } as never;
      const { state, nextAt } = await opened.gates.afterTarget(target);
      assert.equal(state, 'go', 'the next target need not wait for it');
      assert.ok(nextAt);
      away = false;
      assert.deepEqual(await opened.gates.measure(later(nextAt, -1)), { state: 'go', nextAt });
      assert.deepEqual(await opened.gates.measure(nextAt), { state: 'go' });
      assert.deepEqual(
        (await shown(rollout)).map(({ outcome }) => outcome),
        ['success', 'error'],
      );
    });

    it('stop the rollout with the first that fails', async () => {
      await run(fleet.database('bbb').superuser, 'INSERT INTO tasks VALUES (1, 1)');
      const rollout = await fleet.rollout({ each }, { state: 'running' });
      const { gates } = await fleet.reopen(rollout);
      const verdict = await gates.afterTarget({ databaseId: await idOf('bbb') } as never);
      assert.deepEqual([verdict.state, verdict.cause?.first?.tenant], ['halt', 'bbb']);
      await run(fleet.database('bbb').superuser, 'TRUNCATE tasks');
    });
  });

  describe('of the fleet', () => {
    it('watch all that was migrated so far while targets run', async () => {
      const rollout = await fleet.rollout(
        { watch: { sql: 'select 1', max: 1, on: 'fleet', interval: '10s' } },
        { state: 'running' },
      );
      const { gates } = await fleet.reopen(rollout);
      const verdict = await gates.measure(rollout.doneAt);
      assert.equal(verdict.state, 'go');
      assert.ok(verdict.nextAt && verdict.nextAt > rollout.doneAt);
    });

    it('leave traffic alone until somebody was migrated long enough ago', async () => {
      const gate = {
        metric: 'requests.error_rate',
        max: 1,
        on: 'fleet',
        initialDelay: '0s',
        interval: '10s',
      };
      const rollout = await fleet.rollout({ gate }, { state: 'running' });
      const { gates } = await fleet.reopen(rollout);
      const verdict = await gates.measure(rollout.doneAt);
      assert.deepEqual(verdict, { state: 'go', nextAt: later(rollout.doneAt, 10) });
      assert.deepEqual(await shown(rollout), []);
    });
  });
});
