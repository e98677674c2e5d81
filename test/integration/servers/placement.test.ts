import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import {
  findDatabase,
  findLiveDatabase,
  markDatabaseDropped,
  markDatabaseReady,
  releaseReservation,
  setSchemaVersions,
} from '../../../control-plane/servers/database-store.ts';
import { reserveDatabase } from '../../../control-plane/servers/reserve.ts';
import { findServer } from '../../../control-plane/servers/store.ts';
import { FleetError } from '../../../platform/errors.ts';
import type { Tier } from '../../../contract/tenant.ts';
import { freshRegistry, type TestRegistry } from '../../support/registry.ts';
import { addRegions, insertReadyServer, insertTenant } from './support.ts';

describe('reserving a database', () => {
  let test: TestRegistry;
  beforeEach(async () => {
    test = await freshRegistry();
    await addRegions(test.registry);
  });
  afterEach(() => test.drop());

  let counter = 0;
  async function reserve(
    tier: Tier = 'standard',
    region = 'eu',
    databaseId = randomUUID(),
    tenantId?: string,
  ) {
    tenantId ??= await insertTenant(test.registry, `tenant-${(counter += 1)}`, region);
    const request = { databaseId, tenantId, region, tier };
    return test.registry.transaction((tx) => reserveDatabase(tx, request));
  }

  it('takes room on a server of the region and tells why', async () => {
    const eu = await insertReadyServer(test.registry, 'eu-1');
    await insertReadyServer(test.registry, 'us-1', { region: 'us', port: 2 });
    const { database, report } = await reserve();
    assert.equal(database.serverId, eu);
    assert.equal(report.server, 'eu-1');
    assert.match(report.reason, /fullest shared server/);
    assert.match(database.name, /^t_[0-9a-f]{32}$/);
    const server = await findServer(test.registry, 'eu-1');
    assert.deepEqual([server?.databases, server?.connections], [1, 10]);
  });

  it('is idempotent, and follows the database through its states', async () => {
    await insertReadyServer(test.registry, 'eu-1');
    const [databaseId, tenantId] = [randomUUID(), await insertTenant(test.registry, 'acme')];
    const first = await reserve('standard', 'eu', databaseId, tenantId);
    assert.deepEqual((await reserve('standard', 'eu', databaseId, tenantId)).database, first.database);
    const { registry } = test;
    await markDatabaseReady(registry, databaseId, '0001');
    await markDatabaseReady(registry, databaseId, '0000');
    await releaseReservation(registry, databaseId);
    assert.equal((await findLiveDatabase(registry, tenantId))?.schemaVersion, '0001');
    await setSchemaVersions(registry, []);
    await setSchemaVersions(registry, [{ databaseId, schemaVersion: '0002' }]);
    assert.equal((await findDatabase(registry, databaseId))?.schemaVersion, '0002');
    await markDatabaseDropped(registry, databaseId);
    await markDatabaseDropped(registry, databaseId);
    assert.equal(await findLiveDatabase(registry, tenantId), undefined);
    assert.equal((await findServer(registry, 'eu-1'))?.databases, 0);
    assert.equal((await reserve('standard', 'eu', databaseId, tenantId)).database.state, 'reserved');
    await releaseReservation(registry, databaseId);
    await releaseReservation(registry, databaseId);
    assert.equal(await findDatabase(registry, databaseId), undefined);
  });

  it('gives an enterprise tenant a server of its own', async () => {
    await insertReadyServer(test.registry, 'eu-1');
    await insertReadyServer(test.registry, 'eu-2', { mode: 'dedicated', port: 2 });
    assert.equal((await reserve('enterprise')).report.server, 'eu-2');
    await assert.rejects(reserve('enterprise'), { code: 'no_room' });
  });

  it('without room changes nothing and names every server', async () => {
    await insertReadyServer(test.registry, 'eu-1', { state: 'cordoned' });
    await insertReadyServer(test.registry, 'eu-2', { port: 2, max_connections: 5 });
    const tenantId = await insertTenant(test.registry, 'acme');
    await assert.rejects(reserve('standard', 'eu', randomUUID(), tenantId), (error) => {
      assert.ok(error instanceof FleetError);
      assert.equal(error.code, 'no_room');
      assert.equal(error.status, 409);
      assert.equal(error.message, 'no server in region eu has room for a standard tenant');
      assert.deepEqual(error.errors, [
        { path: 'eu-1', message: 'is cordoned' },
        { path: 'eu-2', message: 'has 5 of 5 connections left, 10 are needed' },
      ]);
      assert.match(error.fix ?? '', /fleet server create NAME --region eu --mode shared/);
      assert.match(error.fix ?? '', /fleet server add NAME --region eu --mode shared --url-file FILE/);
      return true;
    });
    const { rows } = await test.registry.query('SELECT 1 FROM databases');
    assert.equal(rows.length, 0);
    await assert.rejects(reserve('standard', 'us'), /region us has no server/);
  });

  it('never exceeds the capacity when many reserve at once', async () => {
    await insertReadyServer(test.registry, 'eu-1', { max_databases: 7 });
    await insertReadyServer(test.registry, 'eu-2', { max_connections: 55, port: 2 });
    const results = await Promise.allSettled(Array.from({ length: 30 }, () => reserve()));
    const placed = results.filter((result) => result.status === 'fulfilled');
    assert.equal(placed.length, 12);
    for (const result of results) {
      if (result.status === 'rejected') assert.equal((result.reason as FleetError).code, 'no_room');
    }
    assert.equal((await findServer(test.registry, 'eu-1'))?.databases, 7);
    assert.equal((await findServer(test.registry, 'eu-2'))?.connections, 50);
  });
});
