import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { AppReport } from '../../../contract/app.ts';
import { RolloutSpec } from '../../../contract/rollout.ts';
import { takeReport } from '../../../control-plane/apps/report.ts';
import { migrationChecksum, releaseChecksum } from '../../../control-plane/releases/release.ts';
import { insertMigrations, insertRelease, listMigrations } from '../../../control-plane/releases/store.ts';
import { approveRollout } from '../../../control-plane/rollouts/verbs/approve.ts';
import { planRollout } from '../../../control-plane/rollouts/verbs/start.ts';
import { abortRollout } from '../../../control-plane/rollouts/verbs/abort.ts';
import { retryRollout } from '../../../control-plane/rollouts/verbs/retry.ts';
import { readRollout } from '../../../control-plane/rollouts/view/view.ts';
import { FleetError } from '../../../platform/errors.ts';
import { ASKER, makeRolloutFleet, type RolloutFleet } from './rollout-fleet.ts';

const DROP = 'ALTER TABLE notes DROP COLUMN text';

describe('a rollout with a contract step', () => {
  let fleet: RolloutFleet;
  let reports = 0;

  before(async () => {
    fleet = await makeRolloutFleet(['aaa', 'bbb', 'us-away']);
    await fleet.setTenantState('us-away', 'suspended');
    await carry({ release: 'r1' });
    await fleet.registry.transaction(async (tx) => {
      const step = { name: '003_drop', ordinal: 3, checksum: migrationChecksum(DROP, null) };
      const times = { lockTimeoutMs: null, statementTimeoutMs: null };
      const how = { phase: 'contract', requiresApp: '2.4.0', transactional: true, statements: null } as const;
      await insertMigrations(tx, [{ ...step, ...how, ...times, upSql: DROP, downSql: null }]);
      const release = { name: 'r2', head: '003_drop', headOrdinal: 3 };
      await insertRelease(tx, {
        ...release,
        checksum: releaseChecksum(await listMigrations(tx)),
        publishedBy: 'test',
      });
    });
  });
  after(() => fleet.drop());

  async function carry(more: object): Promise<string> {
    const id = await fleet.start(undefined, more);
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
    return id;
  }

  function report(instance: string, fields: Partial<AppReport>): Promise<unknown> {
    reports += 1;
    const whole: AppReport = {
      instance,
      sequence: reports,
      appVersion: '2.4.0',
      acceptsSchema: { min: '001_notes', max: null },
      acknowledged: null,
      stopping: false,
      window: { from: new Date(Date.now() - 1_000).toISOString(), to: new Date().toISOString() },
      databases: [],
      ...fields,
    };
    return fleet.registry.transaction((tx) => takeReport(tx, 'eu', whole));
  }

  async function refused(): Promise<FleetError> {
    let thrown: unknown;
    await fleet.start(undefined, { release: 'r2' }).catch((error: unknown) => {
      thrown = error;
    });
    assert.ok(thrown instanceof FleetError, String(thrown));
    return thrown;
  }

  it('is refused while a suspended tenant lacks what comes before it', async () => {
    const error = await refused();
    assert.deepEqual([error.code, error.status], ['contract_blocked', 409]);
    assert.equal(error.message, 'contract step 003_drop must wait: 1 tenant is behind');
    assert.deepEqual(error.errors, [
      { path: 'tenant us-away', message: 'suspended in us, at no migration: lacks 002_gate' },
    ]);
    const { rows } = await fleet.registry.query("SELECT 1 FROM rollouts WHERE release = 'r2'");
    assert.equal(rows.length, 0, 'nothing is stored of what was refused');
  });

  it('is refused while a running app is too old, and tells each reader what they may see', async () => {
    await fleet.setTenantState('us-away', 'active');
    await carry({ release: 'r1' });
    await fleet.setTenantState('us-away', 'suspended');
    const [old, narrow, fresh] = [randomUUID(), randomUUID(), randomUUID()];
    await report(old, { appVersion: '2.3.9' });
    await report(narrow, { acceptsSchema: { min: null, max: '002_gate' } });
    await report(fresh, {});
    const error = await refused();
    assert.deepEqual(
      error.errors?.map(({ path }) => path),
      [`app eu/${old}`, `app eu/${narrow}`],
    );
    assert.match(error.errors?.[0]?.message ?? '', /^version 2.3.9, last seen .*: 003_drop requires 2.4.0$/);

    const spec = RolloutSpec.parse({ release: 'r2' });
    const id = await fleet.registry.transaction((tx) => planRollout(tx, spec, ASKER));
    const seen = (regions: string[] | null) => readRollout(fleet.registry, id, regions);
    assert.deepEqual(
      (await seen(null)).contract?.instances.map(({ instance }) => instance),
      [old, narrow],
    );
    const elsewhere = (await seen(['us'])).contract;
    assert.deepEqual([elsewhere?.instances, elsewhere?.elsewhere], [[], 2]);
    for (const instance of [old, narrow, fresh]) await report(instance, { stopping: true });
    assert.deepEqual((await seen(null)).contract?.instances, []);
  });

  it('looks again within a wave when a person lets it go on', async () => {
    await fleet.onDatabase('aaa', (client) => client.query('CREATE VIEW v AS SELECT text FROM notes'));
    const id = await fleet.start([{ name: 'all', parallel: 1 }], { release: 'r2' });
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).cause?.code, 'budget_exceeded');
    await fleet.onDatabase('aaa', (client) => client.query('DROP VIEW v'));
    const late = randomUUID();
    await report(late, { appVersion: '2.3.9' });
    await fleet.registry.transaction((tx) => retryRollout(tx, id, ASKER));
    await fleet.drive(id);
    const halted = await fleet.read(id);
    assert.match(
      halted.cause?.message ?? '',
      /^wave all may not go on: contract step 003_drop must wait: 1 running/,
    );
    assert.deepEqual(
      halted.targets.map(({ tenant, state, tries }) => [tenant, state, tries]),
      [
        ['aaa', 'pending', 1],
        ['bbb', 'pending', 0],
        ['us-away', 'deferred', 0],
      ],
    );
    await report(late, { stopping: true });
    await fleet.registry.transaction((tx) => abortRollout(tx, id, ASKER));
  });

  it('looks again before each wave, and begins none for which it came too late', async () => {
    const waves = [{ name: 'canary', match: { tenants: ['aaa'] }, approve: true }, { name: 'rest' }];
    const id = await fleet.start(waves, { release: 'r2' });
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'awaiting_approval');
    const late = randomUUID();
    await report(late, { appVersion: '2.3.9' });
    const caller = { ...ASKER.caller, principalId: randomUUID(), name: 'somebody else' };
    await fleet.registry.transaction((tx) => approveRollout(tx, id, { ...ASKER, caller }));
    await fleet.drive(id);
    const halted = await fleet.read(id);
    assert.deepEqual([halted.state, halted.cause?.code], ['halted', 'contract_blocked']);
    assert.match(
      halted.cause?.message ?? '',
      /wave rest was not begun: .* 1 running app instance is behind$/,
    );
    assert.deepEqual(await fleet.states(id), { aaa: 'verified', bbb: 'pending', 'us-away': 'deferred' });
    assert.deepEqual(
      halted.waves.map(({ state }) => state),
      ['passed', 'pending'],
    );

    await fleet.registry.transaction((tx) => retryRollout(tx, id, ASKER));
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'halted', 'a retry asks again');

    await report(late, { stopping: true });
    await fleet.registry.transaction((tx) => retryRollout(tx, id, ASKER));
    await fleet.drive(id);
    assert.equal((await fleet.read(id)).state, 'succeeded');
    assert.deepEqual(await fleet.states(id), { aaa: 'verified', bbb: 'verified', 'us-away': 'deferred' });
  });
});
