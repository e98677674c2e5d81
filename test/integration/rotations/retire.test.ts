import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Tenant } from '../../../contract/tenant.ts';
import { takeReport } from '../../../control-plane/apps/report.ts';
import { readChain } from '../../../control-plane/audit/store.ts';
import { startRotateSecret } from '../../../control-plane/rotations/start.ts';
import { startSuspendTenant } from '../../../control-plane/tenants/suspend.ts';
import { withClient, type PgAddress } from '../../../platform/pg.ts';
import { startWorld, type World } from '../tenants/world.ts';
import { retireAll } from './retire-all.ts';

/** What PostgreSQL says to a login that may not log in, or has no password. */
const REFUSED = /^28/;

describe('a credential that was rotated out', () => {
  let world: World;
  let tenant: Tenant;
  let reports = 0;
  before(async () => {
    world = await startWorld();
    await world.publish(1);
    tenant = await world.create('rotated-out');
  });
  after(() => world.stop());
  beforeEach(() => world.registry.query('TRUNCATE app_traffic, app_instances'));
  afterEach(async () => {
    await world.registry.query('TRUNCATE app_traffic, app_instances');
    await world.registry.query('UPDATE secret_versions SET look_at = NULL');
    await retireAll(world.deps);
    assert.equal((await previous()).length, 0);
  });

  const previous = async (): Promise<{ id: string; login: string }[]> =>
    (
      await world.registry.query<{ id: string; login: string }>(
        "SELECT id, login FROM secret_versions WHERE stage = 'previous'",
      )
    ).rows;
  async function rotate(now = false): Promise<PgAddress> {
    const before = await world.login(tenant.id);
    const { operationId } = await world.request((request) =>
      startRotateSecret(request.tx, tenant.id, { now }, request),
    );
    assert.equal(await world.drive(operationId), 'succeeded');
    return before;
  }
  const enter = (address: PgAddress): Promise<unknown> =>
    withClient(address, { applicationName: 'test' }, (client) => client.query('SELECT 1'));
  const isClosed = (address: PgAddress): Promise<void> =>
    assert.rejects(enter(address), (error: unknown) => REFUSED.test((error as { code: string }).code));
  const because = async (login: string): Promise<string | null> =>
    (
      await world.registry.query<{ because: string | null }>(
        `SELECT retired_because AS because FROM secret_versions
          WHERE login = $1 AND stage = 'retired' ORDER BY staged_at DESC LIMIT 1`,
        [login],
      )
    ).rows[0]?.because ?? null;
  const routeVersion = async (): Promise<string> =>
    (
      await world.registry.query<{ version: string }>(
        'SELECT version FROM route_changes WHERE tenant_id = $1',
        [tenant.id],
      )
    ).rows[0]?.version ?? '';

  function report(instance: string, acknowledged: string | null): Promise<unknown> {
    reports += 1;
    return world.registry.transaction((tx) =>
      takeReport(tx, 'eu', {
        ...{ instance, acknowledged, sequence: reports, appVersion: '1.0.0', stopping: false, databases: [] },
        acceptsSchema: { min: null, max: null },
        window: { from: new Date(Date.now() - 1_000).toISOString(), to: new Date().toISOString() },
      }),
    );
  }

  it('is closed once every live instance of the region has acknowledged, and not before', async () => {
    const [one, other] = [randomUUID(), randomUUID()];
    await report(one, '0');
    await report(other, null);
    const old = await rotate();
    const version = await routeVersion();
    assert.equal(await retireAll(world.deps), 0);
    await report(one, version);
    assert.equal(await retireAll(world.deps), 0);
    await enter(old);
    await report(other, String(Number(version) - 1));
    assert.equal(await retireAll(world.deps), 0);
    await report(other, version);
    assert.equal(await retireAll(world.deps), 1);
    await isClosed(old);
    assert.equal(await because(old.user), 'every app instance has acknowledged the newer version');
    await enter(await world.login(tenant.id));
  });

  it('keeps no session under the login that a newer one takes over, when it is revoked at once', async () => {
    await report(randomUUID(), null);
    const leaked = await world.login(tenant.id);
    await rotate();
    await withClient(leaked, { applicationName: 'test' }, async (client) => {
      client.on('error', () => undefined);
      await rotate(true);
      assert.equal((await world.login(tenant.id)).user, leaked.user);
      await assert.rejects(client.query('SELECT 1'));
    });
  });

  it('is followed by another though a rotation before could not take back what it had begun', async () => {
    const { rows } = await world.registry.query<{ id: string; login: string }>(
      `SELECT d.id, d.name || CASE WHEN v.login LIKE '%_a' THEN '_b' ELSE '_a' END AS login
         FROM databases d JOIN secret_versions v ON v.subject = 'database:' || d.id AND v.stage = 'current'
        WHERE d.tenant_id = $1`,
      [tenant.id],
    );
    const [database] = rows;
    assert.ok(database !== undefined);
    const given = randomUUID();
    await world.registry.transaction((tx) =>
      world.deps.secrets.createVersion(tx, {
        ...{ id: given, owner: `tenant:${tenant.id}`, subject: `database:${database.id}`, region: 'eu' },
        login: database.login,
      }),
    );
    const old = await rotate();
    await enter(await world.login(tenant.id));
    assert.equal(await because(database.login), 'its login was needed for a newer version');
    await retireAll(world.deps);
    await isClosed(old);
  });

  it('is not closed under a session that somebody still has', async () => {
    let old: PgAddress | undefined;
    await withClient(await world.login(tenant.id), { applicationName: 'test' }, async (client) => {
      old = await rotate();
      assert.equal(await retireAll(world.deps), 1);
      assert.equal((await previous()).length, 1);
      // Looked at again in a few seconds, not at once.
      assert.equal(await retireAll(world.deps), 0);
      await client.query('SELECT 1');
    });
    await world.registry.query('UPDATE secret_versions SET look_at = NULL');
    await retireAll(world.deps);
    assert.ok(old !== undefined);
    await isClosed(old);
  });

  it('is closed after an hour for whoever is silent, and says so', async () => {
    await report(randomUUID(), null);
    const old = await rotate();
    await world.registry.query(
      "UPDATE secret_versions SET staged_at = staged_at - interval '61 minutes' WHERE stage = 'previous'",
    );
    assert.equal(await retireAll(world.deps), 1);
    await isClosed(old);
    assert.match((await because(old.user)) ?? '', /its time was over: 1 app instances had not acknowledged/);
  });

  it('is closed at once with its sessions where it has leaked', async () => {
    await report(randomUUID(), null);
    await withClient(await world.login(tenant.id), { applicationName: 'test' }, async (client) => {
      const ended = new Promise((resolve) => client.once('end', resolve));
      const old = await rotate(true);
      assert.equal(await retireAll(world.deps), 1);
      await ended;
      await isClosed(old);
      assert.equal(await because(old.user), 'it was revoked at once');
    });
    const entries = await readChain(world.registry, 0, 1_000);
    const retired = entries.filter(({ action }) => action === 'secret.retire').at(-1);
    assert.deepEqual([retired?.resource, retired?.reason], ['tenant:rotated-out', 'it was revoked at once']);
  });

  it('is not revoked by joining a rotation that waits for the apps', async () => {
    const start = (now: boolean) =>
      world.request((request) => startRotateSecret(request.tx, tenant.id, { now }, request));
    const { operationId } = await start(false);
    assert.deepEqual(await start(false), { tenant: tenant.slug, operationId, joined: true });
    await assert.rejects(start(true), { code: 'operation_in_progress', status: 409 });
    assert.equal(await world.drive(operationId), 'succeeded');
    const urgent = await start(true);
    assert.equal(urgent.joined, false);
    assert.equal(await world.drive(urgent.operationId), 'succeeded');
  });

  it('keeps no tenant from being suspended or deleted', async () => {
    await report(randomUUID(), null);
    const other = await world.create('rotated-then-gone');
    const { operationId } = await world.request((request) =>
      startRotateSecret(request.tx, other.id, { now: false }, request),
    );
    await assert.rejects(
      world.request((request) => startSuspendTenant(request.tx, other.id, request)),
      { code: 'operation_in_progress' },
    );
    assert.equal(await world.drive(operationId), 'succeeded');
    const before = (await previous()).length;
    const suspension = await world.request((request) => startSuspendTenant(request.tx, other.id, request));
    assert.equal(await world.drive(suspension), 'succeeded');
    await world.remove(other.id);
    assert.equal((await previous()).length, before - 1);
  });

  it('does not take the login from a newer version that needed it meanwhile', async () => {
    await report(randomUUID(), null);
    await rotate();
    const [waiting] = await previous();
    // The login of the one that waits is given to a newer version; the one before that is closed.
    await rotate(true);
    assert.equal(await retireAll(world.deps), 1);
    await enter(await world.login(tenant.id));
    assert.equal((await world.login(tenant.id)).user, waiting?.login);
  });
});
