import assert from 'node:assert/strict';
import { migrationChecksum, releaseChecksum } from '../../../control-plane/releases/release.ts';
import {
  currentRelease,
  insertMigrations,
  insertRelease,
  listMigrations,
  setCurrentRelease,
} from '../../../control-plane/releases/store.ts';
import { startResumeTenant } from '../../../control-plane/tenants/resume.ts';
import { findTenant } from '../../../control-plane/tenants/store.ts';
import { startSuspendTenant } from '../../../control-plane/tenants/suspend.ts';
import { withClient } from '../../../platform/pg.ts';
import { startWorld, type World } from './world.ts';

describe('suspending and resuming a tenant', () => {
  let world: World;
  before(async () => {
    world = await startWorld();
    await world.publish(2);
  });
  after(() => world.stop());

  const suspend = async (id: string): Promise<void> => {
    const operation = await world.request((request) => startSuspendTenant(request.tx, id, request));
    assert.equal(await world.drive(operation), 'succeeded');
  };
  const resume = async (id: string): Promise<string | undefined> =>
    world.drive(await world.request((request) => startResumeTenant(request.tx, id, request)));

  it('ends the sessions that are open and keeps the data', async () => {
    const tenant = await world.create('acme');
    const address = await world.login(tenant.id);
    await withClient(address, { applicationName: 'test' }, async (client) => {
      await client.query("INSERT INTO notes (body) VALUES ('kept')");
      await suspend(tenant.id);
      await assert.rejects(client.query('SELECT 1'));
    });
    assert.equal(await resume(tenant.id), 'succeeded');
    await withClient(address, { applicationName: 'test' }, async (client) => {
      const { rows } = await client.query('SELECT body FROM notes');
      assert.deepEqual(rows, [{ body: 'kept' }]);
    });
  });

  it('brings the tenant to the release that the fleet reached meanwhile', async () => {
    const tenant = await world.create('sleeper');
    await suspend(tenant.id);
    const release = await world.publish(3);
    await world.registry.transaction((tx) => setCurrentRelease(tx, release));
    assert.equal(await resume(tenant.id), 'succeeded');
    const resumed = await findTenant(world.registry, tenant.id);
    assert.deepEqual([resumed?.state, resumed?.schemaVersion], ['active', '0003_m']);
    const { rows } = await withClient(await world.login(tenant.id), { applicationName: 'test' }, (client) =>
      client.query('SELECT name FROM pgmigrations ORDER BY id'),
    );
    assert.deepEqual(
      rows.map((row) => row.name),
      ['0001_m', '0002_m', '0003_m'],
    );
  });

  it('leaves a tenant alone that is ahead of the fleet', async () => {
    const tenant = await world.create('ahead');
    assert.equal(tenant.schemaVersion, '0003_m');
    await suspend(tenant.id);
    const first = await world.registry.query<{ name: string }>(
      'SELECT name FROM releases ORDER BY head_ordinal',
    );
    await world.registry.transaction((tx) => setCurrentRelease(tx, first.rows[0]?.name ?? ''));
    assert.equal((await currentRelease(world.registry))?.headOrdinal, 2);
    assert.equal(await resume(tenant.id), 'succeeded');
    assert.equal((await findTenant(world.registry, tenant.id))?.schemaVersion, '0003_m');
  });

  it('catches up with backfills as it is let', async () => {
    const tenant = await world.create('filled');
    await withClient(await world.login(tenant.id), { applicationName: 'test' }, (client) =>
      client.query("INSERT INTO notes (body) SELECT 'old' FROM generate_series(1, 100)"),
    );
    await suspend(tenant.id);
    const fill = "UPDATE notes SET body = 'new' WHERE id BETWEEN $1 AND $2";
    const backfill = { table: 'notes', key: ['id'], batch: 10, verify: null };
    const before = await currentRelease(world.registry);
    await world.registry.transaction(async (tx) => {
      const checksum = migrationChecksum(fill, null);
      const kind = { phase: 'migrate' as const, transactional: false, statements: [fill], backfill };
      const limits = { lockTimeoutMs: null, statementTimeoutMs: null };
      const rest = { upSql: fill, downSql: null, ...kind, ...limits };
      await insertMigrations(tx, [{ name: '0004_fill', ordinal: 4, checksum, ...rest }]);
      const release = { name: 'filling', head: '0004_fill', headOrdinal: 4, publishedBy: 'test' };
      await insertRelease(tx, { ...release, checksum: releaseChecksum(await listMigrations(tx)) });
      await setCurrentRelease(tx, 'filling');
    });
    const asked: unknown[] = [];
    world.deps.throttle = (place) => () =>
      Promise.resolve(asked.push(place) === 1 ? { reason: 'month end', againMs: 5 } : null);
    assert.equal(await resume(tenant.id), 'succeeded');
    const { rows } = await world.registry.query(
      `SELECT id AS "databaseId", server_id AS "serverId", name AS database FROM databases WHERE tenant_id = $1`,
      [tenant.id],
    );
    assert.deepEqual([...new Set(asked.map((place) => JSON.stringify(place)))], [JSON.stringify(rows[0])]);
    assert.ok(asked.length > 2, 'before each chunk');
    await world.registry.transaction((tx) => setCurrentRelease(tx, before?.name ?? ''));
  });

  it('stays suspended when it cannot take what it has missed', async () => {
    const tenant = await world.create('stuck');
    await suspend(tenant.id);
    const newest = await world.registry.query<{ name: string }>(
      'SELECT name FROM releases ORDER BY head_ordinal DESC',
    );
    await world.registry.transaction((tx) => setCurrentRelease(tx, newest.rows[0]?.name ?? ''));
    const { rows } = await world.registry.query<{ server_id: string }>(
      "SELECT server_id FROM databases WHERE tenant_id = $1 AND state = 'ready'",
      [tenant.id],
    );
    const address = await world.deps.servers.address(rows[0]?.server_id ?? '', tenant.database ?? '');
    await withClient(address, { applicationName: 'test' }, (client) =>
      client.query(`SET ROLE ${tenant.database}_owner; ALTER TABLE notes ADD COLUMN done text`),
    );
    assert.equal(await resume(tenant.id), 'failed');
    const found = await findTenant(world.registry, tenant.id);
    assert.deepEqual([found?.state, found?.schemaVersion], ['suspended', '0002_m']);
    await assert.rejects(
      withClient(await world.login(tenant.id), { applicationName: 'test' }, (client) =>
        client.query('SELECT 1'),
      ),
      { code: '28000' },
    );
  });
});
