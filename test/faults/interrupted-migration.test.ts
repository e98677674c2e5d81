import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { applyMigrations, type ApplyRequest } from '../../control-plane/releases/apply.ts';
import { HALF_DONE_SQL } from '../../control-plane/releases/bookkeeping.ts';
import { findBlockers } from '../../control-plane/releases/blockers.ts';
import { askDatabase } from '../../control-plane/releases/inspect.ts';
import type { Migration } from '../../control-plane/releases/release.ts';
import { FleetError, SQLSTATE, sqlState } from '../../platform/errors.ts';
import { withClient, type PgClient } from '../../platform/pg.ts';
import {
  accessTo,
  makeTestServer,
  published,
  read,
  type TenantDatabase,
  type TestServer,
} from '../integration/releases/tenant-database.ts';
import type { ApplyTask } from '../integration/releases/apply-child.ts';
import { startChild, type Child } from '../support/child.ts';
import { until } from '../support/until.ts';

/** A lock that migrations wait for, so that a test decides when they go on. */
const GATE = 4242;
const THROUGH_GATE = `SELECT pg_advisory_xact_lock(${GATE})`;
/** Longer than any test: what is held by the gate must not time out. */
const PATIENT = { lockTimeoutMs: 60_000 };
/** Two lives of a lease, in milliseconds. */
const TAKEOVER_MS = 30_000;

describe('a migration whose worker is lost', function () {
  let server: TestServer;
  let database: TenantDatabase;
  let rollout: string;
  const children: Child[] = [];

  before(async () => {
    server = await makeTestServer();
  });
  after(async () => {
    await Promise.all(children.map((child) => child.kill('SIGKILL')));
    await server.drop();
  });
  beforeEach(async () => {
    database = await server.makeDatabase();
    rollout = randomUUID();
  });

  const request = (migrations: Migration[], epoch: number): ApplyRequest => ({
    ...{ ownerRole: database.ownerRole, migrations, release: 'r' },
    ...{ applicationName: `fleet:${rollout}:${epoch}`, endOlderSessions: epoch > 1 },
  });

  function applyInChild(migrations: Migration[]): Child {
    const task: ApplyTask = { address: database.address, request: request(migrations, 1) };
    const child = startChild('test/integration/releases/apply-child.ts', [], {
      APPLY_TASK: JSON.stringify(task),
    });
    children.push(child);
    return child;
  }

  const sessionOf = async (epoch: number) => {
    const [session] = await read<{ pid: number; waits: string }>(
      database.superuser,
      `SELECT pid, coalesce(wait_event, '') AS waits FROM pg_stat_activity WHERE application_name IN ($1, $1 || ':outside')`,
      [`fleet:${rollout}:${epoch}`],
    );
    return session;
  };
  const waitsAtGate = (epoch: number) =>
    until('it waits at the gate', async () => (await sessionOf(epoch))?.waits === 'advisory');
  const gone = (epoch: number) => until('it is gone', async () => (await sessionOf(epoch)) === undefined);

  async function assertWhole(names: string[]): Promise<void> {
    const rows = await read<{ name: string }>(
      database.superuser,
      'SELECT name FROM pgmigrations ORDER BY id',
    );
    assert.deepEqual(
      rows.map(({ name }) => name),
      names,
    );
    assert.deepEqual(await read(database.superuser, HALF_DONE_SQL), []);
    assert.deepEqual(await read(database.superuser, 'SELECT 1 FROM pg_index WHERE NOT indisvalid'), []);
  }

  it('1: killed in slow DDL, is taken over, its session ended, and is recorded once', async () => {
    const list = await published({ upSql: `CREATE TABLE a (id int); ${THROUGH_GATE}`, ...PATIENT });
    await holding(async (gate) => {
      const child = applyInChild(list);
      await waitsAtGate(1);
      const killedAt = Date.now();
      await child.kill('SIGKILL');
      const successor = applyMigrations(database.address, request(list, 2));
      await waitsAtGate(2);
      assert.equal(await sessionOf(1), undefined);
      await gate.query('SELECT pg_advisory_unlock_all()');
      assert.deepEqual((await successor).applied, ['0001_m']);
      assert.ok(Date.now() - killedAt < TAKEOVER_MS);
    });
    await assertWhole(['0001_m']);
  });

  it('2: killed between an index and its record, is recorded, and the index not built again', async () => {
    const upSql = 'CREATE INDEX CONCURRENTLY a_id ON a (id)';
    const list = await published('CREATE TABLE a (id int)', { upSql, transactional: false });
    await applyMigrations(database.address, request(list.slice(0, 1), 1));
    const index = () =>
      read<{ oid: number }>(
        database.superuser,
        `SELECT indexrelid AS oid FROM pg_index WHERE indisvalid AND indexrelid = to_regclass('a_id')`,
      );
    await withClient(database.superuser, { applicationName: 'test' }, async (record) => {
      await record.query(
        "BEGIN; INSERT INTO fleet.progress (migration, statements_done) VALUES ('0002_m', 0)",
      );
      const child = applyInChild(list);
      await until('the index stands', async () => (await index()).length === 1);
      await until('its record waits', async () => (await sessionOf(1))?.waits === 'transactionid');
      await child.kill('SIGKILL');
      await gone(1);
      await record.query('ROLLBACK');
    });
    const built = await index();
    const { applied } = await askDatabase(database.address, request(list, 2));
    assert.deepEqual(
      applied.map(({ name }) => name),
      ['0001_m'],
    );
    assert.deepEqual((await applyMigrations(database.address, request(list, 2))).applied, ['0002_m']);
    assert.deepEqual(await index(), built);
    await assertWhole(['0001_m', '0002_m']);
  });

  it('3: that left an index invalid is tried again: dropped and built anew, and no reader waits for it', async () => {
    const upSql = 'CREATE INDEX CONCURRENTLY IF NOT EXISTS a_id ON a (id)';
    const list = await published('CREATE TABLE a (id int)', {
      ...{ upSql, transactional: false, lockTimeoutMs: 50 },
    });
    await applyMigrations(database.address, request(list.slice(0, 1), 1));
    const index = () =>
      read<{ oid: number; valid: boolean }>(
        database.superuser,
        `SELECT indexrelid AS oid, indisvalid AS valid FROM pg_index WHERE indrelid = 'a'::regclass`,
      );
    await withClient(database.superuser, { applicationName: 'report' }, async (report) => {
      await report.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
      const lost = new AbortController();
      const applying = applyMigrations(database.address, { ...request(list, 1), signal: lost.signal });
      await until('it has waited in vain', async () => (await index())[0]?.valid === false);
      lost.abort();
      await assert.rejects(applying);
      await gone(1);
      await report.query('COMMIT');
    });
    const [ruin] = await index();
    assert.equal(ruin?.valid, false);

    const patient = list.map((migration) => ({ ...migration, ...PATIENT }));
    await withClient(database.superuser, { applicationName: 'report' }, async (report) => {
      await report.query('BEGIN; SELECT * FROM a');
      const retried = applyMigrations(database.address, request(patient, 2));
      await until('the drop waits for who reads the table', async () => {
        const [session] = await read<{ query: string }>(
          database.superuser,
          `SELECT query FROM pg_stat_activity WHERE application_name = $1 || ':outside' AND wait_event = 'virtualxid'`,
          [`fleet:${rollout}:2`],
        );
        return session?.query.startsWith('DROP INDEX CONCURRENTLY');
      });
      await read(database.superuser, `SET statement_timeout = '5s'; SELECT * FROM a`);
      await report.query('COMMIT');
      assert.deepEqual((await retried).applied, ['0002_m']);
    });
    const [built] = await index();
    assert.deepEqual([built?.valid, built?.oid === ruin.oid], [true, false]);
    await assertWhole(['0001_m', '0002_m']);
  });

  it('that only slept finds its session gone, and may not come back after its successor', async () => {
    const list = await published(
      { upSql: `CREATE TABLE a (id int); ${THROUGH_GATE}`, ...PATIENT },
      'INSERT INTO a VALUES (1)',
    );
    await holding(async (gate) => {
      const child = applyInChild(list);
      await waitsAtGate(1);
      child.process.kill('SIGSTOP');
      const successor = applyMigrations(database.address, request(list, 2));
      await waitsAtGate(2);
      assert.equal(await sessionOf(1), undefined);
      child.process.kill('SIGCONT');
      await assert.rejects(child.line((text) => text === 'applied'));
      await gate.query('SELECT pg_advisory_unlock_all()');
      assert.deepEqual((await successor).applied, ['0001_m', '0002_m']);
    });
    assert.deepEqual(await read(database.superuser, 'SELECT id FROM a'), [{ id: 1 }]);
    const longer = [
      ...list,
      ...(await published('SELECT 1', 'SELECT 1', 'INSERT INTO a VALUES (2)')).slice(2),
    ];
    await assert.rejects(
      applyMigrations(database.address, request(longer, 1)),
      (error) => error instanceof FleetError && error.code === 'migration_fenced' && !error.retryable,
    );
    await assertWhole(['0001_m', '0002_m']);
  });

  it('5: waits for an open transaction in turns, holds up no reader for longer, and names who blocks', async () => {
    const lockTimeoutMs = 100;
    const list = await published('CREATE TABLE a (id int)', {
      upSql: 'ALTER TABLE a ADD b int',
      lockTimeoutMs,
    });
    await applyMigrations(database.address, request(list.slice(0, 1), 1));
    const other = await server.makeDatabase();
    const access = accessTo(server);
    await withClient(database.superuser, { applicationName: 'report' }, async (blocker) => {
      await blocker.query("BEGIN; SELECT * FROM a WHERE 'secret' <> ''");
      const more = { findBlockers: findBlockers(access, '') };
      const applying = applyMigrations(database.address, { ...request(list, 1), ...more }).catch(
        (error: unknown) => error,
      );
      const waits = await readUntil(applying);
      const error = await applying;
      assert(error instanceof FleetError);
      assert.deepEqual([error.code, error.retryable], ['migration_failed', true]);
      assert.equal(sqlState(error.cause), SQLSTATE.lockNotAvailable);
      const { rows } = await blocker.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      assert.match(error.message, new RegExp(`blocked by pid ${rows[0]?.pid} .*FROM a WHERE \\$1 <> \\$2`));
      // Readers queue behind the waiting DDL: for one time-out, and what a busy machine takes.
      assert.ok(Math.max(...waits) < lockTimeoutMs * 5, `readers waited ${Math.max(...waits)} ms`);
      assert.ok(waits.some((wait) => wait > lockTimeoutMs / 2));

      const elsewhere = { ...request(list, 1), ownerRole: other.ownerRole };
      assert.equal((await applyMigrations(other.address, elsewhere)).lockWaitMs, 0);
      const again = applyMigrations(database.address, request(list, 1));
      await until('it has waited once', async () => (await sessionOf(1))?.waits === 'relation');
      await until('it pauses', async () => (await sessionOf(1))?.waits !== 'relation');
      await blocker.query('COMMIT');
      const { lockWaitMs, steps } = await again;
      assert.ok(lockWaitMs >= lockTimeoutMs && (steps[0]?.durationMs ?? 0) >= lockWaitMs);
    });
    await access.close();
    await assertWhole(['0001_m', '0002_m']);
  });

  /** Reads the table again and again; answers how long each took, in milliseconds. */
  async function readUntil(end: Promise<unknown>): Promise<number[]> {
    let over = false;
    void end.then(() => (over = true));
    const waits: number[] = [];
    await withClient(database.superuser, { applicationName: 'reader' }, async (reader) => {
      while (!over) {
        const startedAt = performance.now();
        await reader.query('SELECT count(*) FROM a');
        waits.push(performance.now() - startedAt);
      }
    });
    return waits;
  }

  async function holding(work: (gate: PgClient) => Promise<void>): Promise<void> {
    await withClient(database.superuser, { applicationName: 'test' }, async (gate) => {
      await gate.query(`SELECT pg_advisory_lock(${GATE})`);
      await work(gate);
    });
  }
});
