import assert from 'node:assert/strict';
import { setSchemaVersions } from '../../../control-plane/servers/database-store.ts';
import { setCurrentRelease } from '../../../control-plane/releases/store.ts';
import { retryOperation } from '../../../control-plane/operations/operation.ts';
import { getOperation } from '../../../control-plane/operations/store.ts';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import { startDeleteTenant } from '../../../control-plane/tenants/delete.ts';
import { fleetMembers, findTenant } from '../../../control-plane/tenants/store.ts';
import { sqlState } from '../../../platform/errors.ts';
import { withClient, type PgAddress, type PgClient } from '../../../platform/pg.ts';
import { clusters } from '../../support/clusters.ts';
import { startWorld, type World } from './world.ts';

describe('creating a tenant', () => {
  let world: World;
  before(async () => {
    world = await startWorld();
    await world.publish(2);
  });
  after(() => world.stop());

  it('gives it a database at the current release that its login works in', async () => {
    const tenant = await world.create('acme', { tier: 'premium', domains: ['acme.example.com'] });
    assert.equal(tenant.schemaVersion, '0002_m');
    assert.equal(tenant.server, 'eu-1');
    assert.equal(tenant.placement?.server, 'eu-1');
    assert.ok((tenant.placement?.considered.length ?? 0) > 0);
    assert.deepEqual(tenant.urls, ['http://acme.eu.localhost:4700', 'http://acme.example.com:4700']);
    await asLogin(world, tenant.id, async (client) => {
      await client.query("INSERT INTO notes (body) VALUES ('hello')");
      await client.query('INSERT INTO marks (note) SELECT id FROM notes');
      const { rows } = await client.query('SELECT note_count() AS count');
      assert.equal(rows[0]?.count, '1');
      const marker = await client.query('SELECT tenant_id FROM fleet.identity');
      assert.deepEqual(marker.rows, [{ tenant_id: tenant.id }]);
    });
  });

  it('leaves the login no right beyond its own tables', async () => {
    const tenant = await world.create('narrow');
    const denied = [
      'CREATE TABLE mine (id int)',
      'CREATE SCHEMA mine',
      'CREATE TEMP TABLE mine (id int)',
      'CREATE DATABASE mine',
      'CREATE ROLE mine',
      'ALTER TABLE notes ADD COLUMN mine int',
      'DROP TABLE marks',
      'TRUNCATE notes',
      "INSERT INTO pgmigrations (name, run_on) VALUES ('forged', now())",
      'DELETE FROM fleet.identity',
      'SELECT * FROM fleet.migrations',
      `SET ROLE ${tenant.database}_owner`,
      'SET ROLE fleet_admin',
      "SELECT pg_read_file('/etc/hostname')",
      "COPY (SELECT 1) TO PROGRAM 'true'",
    ];
    await asLogin(world, tenant.id, async (client) => {
      for (const sql of denied) assert.equal(await failure(client.query(sql)), '42501', sql);
    });
  });

  it('fixes search path, time-outs and connection limit of the login', async () => {
    const tenant = await world.create('limits');
    const settings = await asLogin(world, tenant.id, async (client) => {
      const { rows } = await client.query<{ name: string; setting: string }>(
        `SELECT name, current_setting(name) AS setting FROM pg_settings
          WHERE name IN ('search_path', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')`,
      );
      return Object.fromEntries(rows.map((row) => [row.name, row.setting]));
    });
    assert.deepEqual(settings, {
      search_path: 'public, pg_temp',
      statement_timeout: '30s',
      lock_timeout: '10s',
      idle_in_transaction_session_timeout: '30s',
    });
    const { rows } = await onCluster<{ rolname: string; rolcanlogin: boolean; rolconnlimit: number }>(
      'SELECT rolname, rolcanlogin, rolconnlimit FROM pg_roles WHERE rolname LIKE $1 ORDER BY 1',
      [`${tenant.database}%`],
    );
    assert.deepEqual(
      rows.map((row) => [row.rolname.replace(tenant.database ?? '', ''), row.rolcanlogin, row.rolconnlimit]),
      [
        ['_a', true, 10],
        ['_migrator', true, -1],
        ['_owner', false, -1],
        ['_rw', false, -1],
      ],
    );
  });

  it("keeps logins out of each other's databases and the server's own", async () => {
    const tenants = await Promise.all(['one', 'two-b', 'three'].map((slug) => world.create(slug)));
    for (const tenant of tenants) {
      const address = await world.login(tenant.id);
      const others = tenants.filter((other) => other !== tenant).map((other) => other.database ?? '');
      for (const database of [...others, 'template1', 'postgres']) {
        const reached = withClient({ ...address, database }, { applicationName: 'test' }, (client) =>
          client.query('SELECT 1'),
        );
        assert.equal(await failure(reached), '42501', `${tenant.slug} in ${database}`);
      }
    }
  });

  it('gives each database a migrator of its own, that is let into no other and may act as no other owner', async () => {
    const [one, other] = await Promise.all(['mine', 'theirs'].map((slug) => world.create(slug)));
    assert.ok(one?.database && other?.database);
    const { rows } = await world.registry.query<{ serverId: string }>(
      'SELECT server_id AS "serverId" FROM databases WHERE name = $1',
      [one.database],
    );
    const ownerRole = `${one.database}_owner`;
    const place = { database: one.database, ownerRole };
    const address = await world.deps.servers.migrator(rows[0]?.serverId ?? '', place);
    const say = (database: string, sql: string) =>
      withClient({ ...address, database }, { applicationName: 'test' }, (client) => client.query(sql));
    await say(one.database, `SET ROLE ${ownerRole}`);
    assert.equal(await failure(say(one.database, `SET ROLE ${other.database}_owner`)), '42501');
    assert.equal(await failure(say(one.database, 'SELECT FROM public.notes')), '42501');
    assert.equal(
      await failure(say(one.database, 'UPDATE fleet.identity SET tenant_id = tenant_id')),
      '42501',
    );
    for (const database of [other.database, 'postgres', 'template1']) {
      assert.equal(await failure(say(database, 'SELECT 1')), '42501', database);
    }
  });

  it('gives everything to the owner role and nothing to PUBLIC', async () => {
    const tenant = await world.create('owned');
    const address: PgAddress = { ...clusters().eu.superuser, database: tenant.database ?? '' };
    const { rows } = await withClient(address, { applicationName: 'test' }, (client) =>
      client.query(
        `SELECT relname FROM pg_class
          WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
            AND pg_get_userbyid(relowner) <> $1
         UNION ALL SELECT nspname FROM pg_namespace, aclexplode(nspacl) a
          WHERE nspname IN ('public', 'fleet') AND a.grantee = 0
         UNION ALL SELECT datname FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) a
          WHERE datname = current_database() AND a.grantee = 0
         UNION ALL SELECT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
          WHERE pronamespace = 'public'::regnamespace AND a.grantee = 0`,
        [`${tenant.database}_owner`],
      ),
    );
    assert.deepEqual(rows, []);
  });

  it('takes in what was released while it was being made', async () => {
    const { operationId, tenantId } = await world.begin('late');
    const release = await world.publish(3);
    const operation = world.operations.get('tenant.create');
    const before = operation?.steps.find((step) => step.name === 'verify');
    assert.ok(before !== undefined);
    const run = before.do;
    before.do = async (context) => {
      await run(context);
      await world.registry.transaction((tx) => setCurrentRelease(tx, release));
    };
    try {
      assert.equal(await world.drive(operationId), 'succeeded');
    } finally {
      before.do = run;
    }
    assert.equal((await findTenant(world.registry, tenantId))?.schemaVersion, '0003_m');
    await asLogin(world, tenantId, (client) => client.query('SELECT done FROM notes'));
  });

  it('lists members of the fleet that are behind, a database without any migration too', async () => {
    const members = await fleetMembers(world.registry, { region: 'eu' });
    assert.deepEqual(
      members.map((member) => member.slug),
      members.map((member) => member.slug).toSorted(),
    );
    const late = members.find((member) => member.slug === 'late');
    assert.ok(late !== undefined && late.ownerRole === `${late.databaseName}_owner`);
    await world.registry.transaction((tx) =>
      setSchemaVersions(tx, [{ databaseId: late.databaseId, schemaVersion: null }]),
    );
    const behind = await fleetMembers(world.registry, { behindOrdinal: 2 });
    assert.deepEqual(
      behind.map((member) => [member.slug, member.serverName, member.schemaVersion]),
      [['late', 'eu-1', null]],
    );
    assert.deepEqual(await fleetMembers(world.registry, { region: 'us' }), []);
  });

  it('that failed is parked with its cause, can be retried, and deleted', async () => {
    const inventory = await world.inventory();
    const { operationId, tenantId } = await world.begin('unlucky');
    const step = world.operations.get('tenant.create')?.steps.find((one) => one.name === 'verify');
    assert.ok(step !== undefined);
    const run = step.do;
    step.do = async (context) => {
      await run(context);
      throw new Error('the first try fails at its end');
    };
    try {
      assert.equal(await world.drive(operationId), 'failed');
    } finally {
      step.do = run;
    }
    const failed = await findTenant(world.registry, tenantId);
    assert.equal(failed?.state, 'failed');
    assert.match(failed.stateCause?.message ?? '', /first try fails/);
    assert.equal(failed.database, null);
    await world.registry.transaction((tx) =>
      retryOperation(tx, operationId, world.operations, { caller: SYSTEM_CALLER, requestId: null }),
    );
    assert.equal((await findTenant(world.registry, tenantId))?.state, 'provisioning');
    assert.equal(await world.drive(operationId), 'succeeded');
    await asLogin(world, tenantId, (client) => client.query('SELECT 1 FROM notes'));
    await world.remove(tenantId);
    assert.deepEqual(await world.inventory(), inventory);
  });

  it('that failed and was deleted cannot be retried any more', async () => {
    const { operationId, tenantId } = await world.begin('gone');
    await world.registry.query('UPDATE operations SET cancel_requested = true WHERE id = $1', [operationId]);
    assert.equal(await world.drive(operationId), 'cancelled');
    assert.equal((await findTenant(world.registry, tenantId))?.stateCause?.code, 'cancelled');
    await world.remove(tenantId);
    await assert.rejects(
      world.registry.transaction((tx) =>
        retryOperation(tx, operationId, world.operations, { caller: SYSTEM_CALLER, requestId: null }),
      ),
      { code: 'operation_superseded', status: 409 },
    );
  });
});

describe('creating a tenant before anything was released', () => {
  let world: World;
  before(async () => {
    world = await startWorld();
  });
  after(() => world.stop());

  it('gives it an empty schema, and the first release when that comes first', async () => {
    const tenant = await world.create('early');
    assert.equal(tenant.schemaVersion, null);
    await asLogin(world, tenant.id, (client) => client.query('SELECT 1 FROM fleet.identity'));
    await world.remove(tenant.id);
    await world.publish(1);
    assert.equal((await world.create('early')).schemaVersion, '0001_m');
  });
});

describe('deleting a tenant', () => {
  let world: World;
  before(async () => {
    world = await startWorld();
    await world.publish(1);
  });
  after(() => world.stop());

  it('ends its sessions, leaves nothing on the server, and keeps the row and the audit history', async () => {
    const inventory = await world.inventory();
    const tenant = await world.create('doomed', { domains: ['doomed.example.com'] });
    const address = await world.login(tenant.id);
    await withClient(address, { applicationName: 'test' }, async (client) => {
      await client.query('BEGIN');
      await client.query('SELECT 1 FROM notes');
      await world.remove(tenant.id);
      await assert.rejects(client.query('SELECT 1'));
    });
    assert.deepEqual(await world.inventory(), inventory);
    const found = await findTenant(world.registry, tenant.id);
    assert.equal(found?.state, 'deleted');
    assert.ok(found.deletedAt !== null);
    assert.deepEqual([found.database, found.domains, found.urls], [null, [], []]);
    assert.equal(await findTenant(world.registry, 'doomed'), undefined);
    assert.equal((await findTenant(world.registry, 'doomed', true))?.id, tenant.id);
    const { rows } = await world.registry.query(
      "SELECT action FROM audit_log WHERE resource = 'tenant:doomed' ORDER BY seq",
    );
    assert.deepEqual(
      rows.map((row) => row.action),
      [
        'tenant.create',
        'tenant.create.succeeded',
        'tenant.delete',
        'key.destruction_scheduled',
        'tenant.delete.succeeded',
      ],
    );
  });

  it('frees its slug and its domains', async () => {
    const again = await world.create('doomed', { domains: ['doomed.example.com'] });
    assert.equal((await findTenant(world.registry, 'doomed', true))?.id, again.id);
    await world.remove(again.id);
  });

  it('wants its name as confirmation and changes nothing without', async () => {
    const tenant = await world.create('careful');
    for (const confirm of [undefined, '', 'other', tenant.id]) {
      await assert.rejects(
        world.request((request) => startDeleteTenant(request.tx, 'careful', confirm, request)),
        { code: 'confirmation_required', status: 422 },
      );
    }
    assert.deepEqual(await findTenant(world.registry, 'careful'), tenant);
    await world.remove(tenant.id);
  });

  it('goes on by retry where it stopped when the server was out of reach', async () => {
    const inventory = await world.inventory();
    const tenant = await world.create('stuck');
    const { operationId } = await world.request((request) =>
      startDeleteTenant(request.tx, 'stuck', 'stuck', request),
    );
    const step = world.operations.get('tenant.delete')?.steps.find((one) => one.name === 'roles');
    assert.ok(step !== undefined);
    const run = step.do;
    step.do = () => Promise.reject(new Error('no route to host'));
    try {
      assert.equal(await world.drive(operationId), 'failed');
    } finally {
      step.do = run;
    }
    assert.equal((await findTenant(world.registry, tenant.id))?.state, 'offboarding');
    await world.registry.transaction((tx) =>
      retryOperation(tx, operationId, world.operations, { caller: SYSTEM_CALLER, requestId: null }),
    );
    assert.equal(await world.drive(operationId), 'succeeded');
    const operation = await getOperation(world.registry, operationId);
    assert.deepEqual(
      operation?.steps.map((one) => one.state),
      ['done', 'done', 'done', 'done', 'done', 'done'],
    );
    assert.deepEqual(await world.inventory(), inventory);
  });
});

async function asLogin<T>(
  world: World,
  tenantId: string,
  work: (client: PgClient) => Promise<T>,
): Promise<T> {
  return withClient(await world.login(tenantId), { applicationName: 'test' }, work);
}

/** SQLSTATE of a failed promise. */
async function failure(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise;
    return 'nothing failed';
  } catch (error) {
    return sqlState(error);
  }
}

function onCluster<R extends Record<string, unknown>>(sql: string, values: unknown[]) {
  return withClient(clusters().eu.superuser, { applicationName: 'test' }, (client) =>
    client.query<R>(sql, values),
  );
}
