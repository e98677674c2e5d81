import assert from 'node:assert/strict';
import type { RolloutTarget } from '../../../contract/rollout.ts';
import { migrationChecksum, releaseChecksum } from '../../../control-plane/releases/release.ts';
import { insertMigrations, insertRelease, listMigrations } from '../../../control-plane/releases/store.ts';
import { listHolds } from '../../../control-plane/rollouts/backfills/store.ts';
import { switchBackfills } from '../../../control-plane/rollouts/backfills/switch.ts';
import { createRolloutDriver } from '../../../control-plane/rollouts/engine/driver.ts';
import { readProgress } from '../../../control-plane/rollouts/view/progress.ts';
import { abortRollout } from '../../../control-plane/rollouts/verbs/abort.ts';
import { pauseRollout, resumeRollout } from '../../../control-plane/rollouts/verbs/pause.ts';
import { createPool, type PgPool, type PgPoolClient } from '../../../platform/pg.ts';
import { clusters } from '../../support/clusters.ts';
import { driveOnce } from '../../support/drive.ts';
import { quietLogger } from '../../support/registry.ts';
import { until } from '../../support/until.ts';
import { ASKER, bearAll, makeRolloutFleet, type RolloutFleet } from './rollout-fleet.ts';

const FILL = 'UPDATE orders SET fills = fills + 1 WHERE id BETWEEN $1 AND $2';
const ROWS = 2_000;

describe('a rollout with a backfill', () => {
  let fleet: RolloutFleet;
  let pool: PgPool;
  let deps: Parameters<typeof createRolloutDriver>[0];
  let driver: ReturnType<typeof createRolloutDriver>;

  before(() => {
    pool = createPool({ ...clusters().eu.superuser, max: 4 }, () => undefined);
  });
  after(() => pool.end());
  beforeEach(async () => {
    fleet = await makeRolloutFleet(['acme']);
    const servers = {
      ...fleet.servers,
      admin: async <T>(_id: string, work: (client: PgPoolClient) => Promise<T>) => {
        const client = await pool.connect();
        return work(client).finally(() => client.release());
      },
    };
    deps = { registry: fleet.registry, servers, logger: quietLogger, guard: bearAll };
    driver = createRolloutDriver(deps);
    await makeOrders('acme', ROWS);
    await fleet.registry.transaction(async (tx) => {
      await insertMigrations(tx, [
        {
          name: '003_fill',
          ordinal: 3,
          checksum: migrationChecksum(FILL, null),
          upSql: FILL,
          downSql: null,
          phase: 'migrate',
          transactional: false,
          lockTimeoutMs: null,
          statementTimeoutMs: null,
          statements: [FILL],
          backfill: { table: 'orders', key: ['id'], batch: 50, verify: null },
        },
      ]);
      await insertRelease(tx, {
        name: 'r2',
        head: '003_fill',
        headOrdinal: 3,
        checksum: releaseChecksum(await listMigrations(tx)),
        publishedBy: 'test',
      });
    });
  });
  afterEach(() => fleet.drop());

  const tx = <T>(work: Parameters<typeof fleet.registry.transaction<T>>[0]): Promise<T> =>
    fleet.registry.transaction(work);

  const makeOrders = (slug: string, rows: number): Promise<void> =>
    fleet.onDatabase(slug, async (client) => {
      await client.query(`SET ROLE ${fleet.database(slug).ownerRole};
        CREATE TABLE orders (id bigint PRIMARY KEY, fills int NOT NULL DEFAULT 0);
        INSERT INTO orders (id) SELECT generate_series(1, ${rows})`);
    });

  async function target(id: string): Promise<RolloutTarget> {
    const [found] = (await fleet.read(id)).targets;
    assert(found !== undefined);
    return found;
  }

  /** Starts it and drives it beside the test. */
  async function begin(): Promise<{ id: string; driven: Promise<void> }> {
    const id = await fleet.start(undefined, { release: 'r2' });
    return { id, driven: driveOnce(fleet.registry, driver, id) };
  }

  function met(
    id: string,
    what: string,
    look: (progress: NonNullable<RolloutTarget['progress']>) => boolean,
  ) {
    return until(what, async () => {
      const { progress } = await target(id);
      return progress !== null && look(progress) && progress;
    });
  }

  async function fills(): Promise<unknown> {
    return fleet.onDatabase('acme', async (client) => {
      const { rows } = await client.query('SELECT fills, count(*)::int AS rows FROM orders GROUP BY fills');
      return rows;
    });
  }

  const hold = (on: boolean): Promise<void> =>
    tx((each) => {
      const reason = on ? {} : { reason: 'month end' };
      return switchBackfills(each, { scope: 'tenant', name: 'acme', on, ...reason, ...ASKER });
    });

  it('stops behind a chunk when it is paused, keeps its progress, and goes on where it stands', async () => {
    // A millisecond a row: long enough to be met half way.
    await fleet.onDatabase('acme', (client) =>
      client.query(`
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION slow()`),
    );
    const { id, driven } = await begin();
    const seen = await met(id, 'rows are done', ({ rowsDone }) => rowsDone > 0);
    assert.ok(
      seen.rowsEstimated >= ROWS / 2 && seen.reason === null && (seen.rate ?? 0) > 0,
      JSON.stringify(seen),
    );
    await tx((each) => pauseRollout(each, id, ASKER));
    await driven;
    const stopped = await target(id);
    assert.equal(stopped.state, 'pending');
    const done = stopped.progress?.rowsDone ?? 0;
    assert.ok(done >= seen.rowsDone && done < ROWS, `${done} rows`);
    await tx((each) => resumeRollout(each, id, ASKER));
    await driveOnce(fleet.registry, driver, id);
    const through = await target(id);
    assert.deepEqual([through.state, through.progress?.rowsDone], ['verified', ROWS]);
    assert.deepEqual(await fills(), [{ fills: 1, rows: ROWS }]);
  });

  it('is held by an operator’s switch, says so, and goes on when that is on again', async () => {
    await hold(false);
    await hold(false);
    const { id, driven } = await begin();
    const held = await met(id, 'it is held', ({ reason }) => reason !== null);
    assert.deepEqual([held.reason, held.rowsDone], ['held for the tenant by system: month end', 0]);
    const { eta, noEta } = await readProgress(fleet.registry, id, null);
    assert.deepEqual([eta, noEta], [null, { code: 'held', targets: 1, reason: held.reason }]);
    const abroad = await readProgress(fleet.registry, id, ['us']);
    assert.deepEqual(abroad.noEta, { code: 'held', targets: 1, reason: null });
    assert.deepEqual(
      (await listHolds(fleet.registry, null)).map(({ scope, name }) => [scope, name]),
      [['tenant', 'acme']],
    );
    await hold(true);
    await driven;
    const { state, progress } = await target(id);
    assert.deepEqual([state, progress?.reason, progress?.rowsDone], ['verified', null, ROWS]);
    assert.ok((progress?.heldMs ?? 0) > 0);
    const { rows } = await fleet.registry.query(
      `SELECT action, resource, reason FROM audit_log WHERE action LIKE 'backfill.%' ORDER BY seq`,
    );
    assert.deepEqual(rows.at(-1), { action: 'backfill.release', resource: 'tenant:acme', reason: null });
  });

  it('gives its place up to others when it is held for long, and goes on by itself when it may', async () => {
    for (const slug of ['next', 'other']) {
      await fleet.addTenant(slug);
      await makeOrders(slug, 10);
    }
    await hold(false);
    const patient = createRolloutDriver({
      ...deps,
      backfills: { patience: { heldMs: 300, leaveMs: 3_600_000 } },
    });
    const id = await fleet.start([{ name: 'all', parallel: 1 }], { release: 'r2' });
    await driveOnce(fleet.registry, patient, id);
    const [first, ...others] = (await fleet.read(id)).targets;
    assert.deepEqual([first?.tenant, first?.state], ['acme', 'deferred']);
    assert.equal(first?.reason, 'held for the tenant by system: month end');
    assert.ok(first.notBefore !== null && (first.progress?.heldMs ?? 0) >= 300);
    assert.deepEqual(new Set(others.map(({ state, tries }) => `${state} ${tries}`)), new Set(['verified 1']));
    assert.equal((await fleet.registry.query(patient.openIdsSql)).rowCount, 0, 'nobody waits for it');
    await hold(true);
    assert.equal((await fleet.registry.query(patient.openIdsSql)).rowCount, 1, 'at once');
    await driveOnce(fleet.registry, patient, id);
    const { state, targets } = await fleet.read(id);
    assert.deepEqual([state, targets[0]?.tries], ['succeeded', 2]);
    assert.ok((targets[0]?.progress?.heldMs ?? 0) >= 300, 'the time is kept');
    assert.deepEqual(await fills(), [{ fills: 1, rows: ROWS }]);
  });

  it('is skipped with its progress by an abort, and its rows stay', async () => {
    await hold(false);
    const { id, driven } = await begin();
    await met(id, 'it is held', ({ reason }) => reason !== null);
    await tx((each) => abortRollout(each, id, ASKER));
    await driven;
    const { state, reason, progress } = await target(id);
    assert.deepEqual([state, reason, progress?.migration], ['skipped', 'aborted', '003_fill']);
  });
});
