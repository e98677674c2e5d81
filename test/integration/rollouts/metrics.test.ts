import assert from 'node:assert/strict';
import { openRegistry } from '../../../control-plane/registry/registry.ts';
import { fleetMetrics } from '../../../control-plane/rollouts/view/metrics.ts';
import { quietLogger } from '../../support/registry.ts';
import { makeRolloutFleet, type RolloutFleet } from './rollout-fleet.ts';

describe('metrics of rollouts', () => {
  let fleet: RolloutFleet;

  before(async () => {
    fleet = await makeRolloutFleet(['aaa', 'bbb', 'us-ccc']);
  });
  after(() => fleet.drop());

  /** As a process that was just started tells them: what is read serves for some seconds. */
  const scrape = (): Promise<string> =>
    fleetMetrics({ registry: fleet.registry, logger: quietLogger }).metrics();
  const has = (text: string, line: string): void =>
    assert.ok(text.split('\n').includes(line), `${line}\n${text}`);

  it('say nothing of a rollout before there is one', async () => {
    const text = await scrape();
    has(text, 'flotilla_registry_up 1');
    has(text, 'flotilla_drift_databases{verdict="unchecked"} 3');
    assert.doesNotMatch(text, /^flotilla_(rollout_|migration_)[^\n]* \d/m);
  });

  it('count targets, waves, halts and times of migrations, and name no tenant', async () => {
    await fleet.spoil('aaa');
    const id = await fleet.start([{ name: 'eu', match: { region: 'eu' }, parallel: 1 }, { name: 'rest' }]);
    await fleet.drive(id);
    const text = await scrape();
    has(text, 'flotilla_rollout_info{release="r1"} 1');
    has(text, 'flotilla_rollout_state{state="halted"} 1');
    has(text, 'flotilla_rollout_state{state="running"} 0');
    has(text, 'flotilla_rollout_targets{state="failed"} 1');
    has(text, 'flotilla_rollout_targets{state="pending"} 2');
    has(text, 'flotilla_rollout_waves{state="failed"} 1');
    has(text, 'flotilla_rollout_halts_total{code="budget_exceeded"} 1');
    has(text, 'flotilla_migration_duration_seconds_count{release="r1"} 0');
    await fleet.mend('aaa');
    await fleet.registry.query("UPDATE rollouts SET state = 'running', cause = NULL WHERE id = $1", [id]);
    await fleet.registry.query("UPDATE rollout_targets SET state = 'pending' WHERE state = 'failed'");
    await fleet.drive(id);
    const ended = await scrape();
    has(ended, 'flotilla_rollouts_total{state="succeeded"} 1');
    has(ended, 'flotilla_rollout_targets{state="verified"} 3');
    has(ended, 'flotilla_migration_duration_seconds_bucket{release="r1",le="+Inf"} 6');
    has(ended, 'flotilla_migration_duration_seconds_count{release="r1"} 6');
    has(ended, 'flotilla_migration_lock_wait_seconds_bucket{release="r1",le="0.005"} 6');
    has(ended, 'flotilla_rollout_halts_total{code="budget_exceeded"} 1');
    assert.doesNotMatch(text + ended, new RegExp(`aaa|bbb|ccc|${id}`));
  });

  it('put each time into the bucket that it does not exceed', async () => {
    const applied = [5, 6, 3_600_001].map((durationMs) => ({ durationMs, lockWaitMs: 0 }));
    await fleet.registry.query('UPDATE rollout_targets SET applied = NULL');
    await fleet.registry.query(
      `UPDATE rollout_targets SET applied = $1
        WHERE database_id = (SELECT database_id FROM rollout_targets LIMIT 1)`,
      [JSON.stringify(applied)],
    );
    const text = await scrape();
    const bucket = (le: string) => `flotilla_migration_duration_seconds_bucket{release="r1",le="${le}"}`;
    has(text, `${bucket('0.005')} 1`);
    has(text, `${bucket('0.01')} 2`);
    has(text, `${bucket('3600')} 2`);
    has(text, `${bucket('+Inf')} 3`);
    has(text, 'flotilla_migration_duration_seconds_sum{release="r1"} 3600.012');
  });

  it('say so where the registry does not answer, and are told all the same', async () => {
    const registry = openRegistry('postgres://nobody@127.0.0.1:1/none', quietLogger);
    const text = await fleetMetrics({ registry, logger: quietLogger }).metrics();
    has(text, 'flotilla_registry_up 0');
    assert.doesNotMatch(text, /^flotilla_rollout/m);
    await registry.close();
  });
});
