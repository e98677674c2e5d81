import assert from 'node:assert/strict';
import type { OpenedConnection } from '../../../contract/connection.ts';
import { Connect } from '../../../contract/connection.ts';
import type { Tenant } from '../../../contract/tenant.ts';
import { createConnectionDriver } from '../../../control-plane/connections/driver.ts';
import { connect, disconnect } from '../../../control-plane/connections/connect.ts';
import { findConnection, OPEN_CONNECTIONS_SQL } from '../../../control-plane/connections/store.ts';
import { readChain } from '../../../control-plane/audit/store.ts';
import { MIGRATION_LOCK } from '../../../control-plane/releases/bookkeeping.ts';
import { readSchema } from '../../../control-plane/releases/schema.ts';
import { databaseNames } from '../../../control-plane/servers/database.ts';
import { startSuspendTenant } from '../../../control-plane/tenants/suspend.ts';
import { findTenant } from '../../../control-plane/tenants/store.ts';
import { withClient, type PgAddress, type PgClient } from '../../../platform/pg.ts';
import { driveOnce } from '../../support/drive.ts';
import { startWorld, type World } from '../tenants/world.ts';

const INSUFFICIENT_PRIVILEGE = '42501';
/** What PostgreSQL says to a login that is none, or may not log in. */
const REFUSED = /^28/;

describe('a read-only login to a tenant’s database', () => {
  let world: World;
  let tenant: Tenant;
  let other: Tenant;
  before(async () => {
    world = await startWorld();
    await world.publish(2);
    [tenant, other] = await Promise.all([world.create('looked-into'), world.create('neighbour')]);
  });
  after(() => world.stop());
  afterEach(async () => {
    await world.request((request) => disconnect(request.tx, tenant.id, {}, request));
    await carryAll();
  });

  const ask = (body: object = {}): Promise<OpenedConnection> =>
    world.request((request) =>
      connect(request.tx, tenant.id, Connect.parse({ reason: 'INC-42', ...body }), request),
    );
  const carry = (id: string): Promise<void> =>
    driveOnce(world.registry, createConnectionDriver(world.deps), id);
  async function carryAll(): Promise<void> {
    const { rows } = await world.registry.query<{ id: string }>(OPEN_CONNECTIONS_SQL);
    for (const { id } of rows) await carry(id);
  }
  async function opened(body: object = {}): Promise<OpenedConnection> {
    const connection = await ask(body);
    await carry(connection.id);
    return connection;
  }
  const addressOf = (connection: OpenedConnection): PgAddress => ({
    ...connection,
    user: connection.login,
  });
  const as = <T>(connection: OpenedConnection, work: (client: PgClient) => Promise<T>): Promise<T> =>
    withClient(addressOf(connection), { applicationName: 'psql' }, work);
  const enter = (connection: OpenedConnection): Promise<unknown> =>
    as(connection, (client) => client.query('SELECT count(*) FROM notes'));
  const isRefused = (connection: OpenedConnection): Promise<void> =>
    assert.rejects(enter(connection), (error: unknown) => REFUSED.test((error as { code: string }).code));
  const found = (id: string) => findConnection(world.registry, tenant.id, id);
  const expire = (id: string): Promise<unknown> =>
    world.registry.query('UPDATE connections SET expires_at = now() WHERE id = $1', [id]);
  const rolesLeft = async (): Promise<string[]> => {
    const items = await world.inventory();
    return items.filter((item) => item.includes(`role ${tenant.database ?? ''}_c_`));
  };

  it('reads everything of the tenant, what came later too', async () => {
    const first = await opened();
    await enter(first);
    await world.request((request) => disconnect(request.tx, tenant.id, {}, request));
    await carryAll();
    await asOwner((client) => client.query('CREATE TABLE late (id int)'));
    const second = await opened();
    await as(second, (client) => client.query('SELECT * FROM late'));
    await as(second, (client) => client.query('SELECT last_value FROM marks_id_seq'));
    await asOwner((client) => client.query('DROP TABLE late'));
  });

  it('writes nothing, makes nothing, runs nothing, and is nobody else, whatever it sets', async () => {
    const connection = await opened();
    const attempts = [
      'INSERT INTO notes (body) VALUES (1)',
      'DELETE FROM notes',
      'TRUNCATE notes',
      'CREATE TABLE mine (id int)',
      'CREATE TEMPORARY TABLE mine (id int)',
      'CREATE SCHEMA mine',
      'SELECT note_count()',
      "SELECT nextval('marks_id_seq')",
      'BEGIN; LOCK TABLE notes IN EXCLUSIVE MODE',
      `SET ROLE ${databaseNames(databaseId()).ownerRole}`,
      `SET ROLE ${databaseNames(databaseId()).rwRole}`,
      "SELECT pg_read_file('/etc/passwd')",
      "COPY notes TO PROGRAM 'cat'",
      `ALTER ROLE ${connection.login} VALID UNTIL 'infinity'`,
    ];
    for (const sql of attempts) {
      const tried = as(connection, async (client) => {
        await client.query('SET default_transaction_read_only = off');
        await client.query(sql);
      });
      await assert.rejects(tried, { code: INSUFFICIENT_PRIVILEGE }, sql);
    }
    for (const database of [other.database ?? '', 'postgres', 'template1']) {
      const tried = withClient(
        { ...addressOf(connection), database },
        { applicationName: 'psql' },
        (client) => client.query('SELECT 1'),
      );
      await assert.rejects(tried, { code: INSUFFICIENT_PRIVILEGE }, database);
    }
  });

  const databaseId = (): string => tenant.database?.replace(/^t_/, '') ?? '';
  async function asOwner(work: (client: PgClient) => Promise<unknown>): Promise<void> {
    const names = databaseNames(databaseId());
    const { rows } = await world.registry.query<{ id: string }>(
      'SELECT server_id AS id FROM databases WHERE name = $1',
      [names.name],
    );
    const address = await world.deps.servers.address(rows[0]?.id ?? '', names.name);
    await withClient(address, { applicationName: 'test' }, async (client) => {
      await client.query(`SET ROLE ${names.ownerRole}`);
      await work(client);
    });
  }

  it('is limited in time, in sessions and in what a query may take', async () => {
    const connection = await opened({ ttl: '8h' });
    assert.equal(Math.round((Date.parse(connection.expiresAt) - Date.now()) / 3_600_000), 8);
    await as(connection, async (client) => {
      const { rows } = await client.query<{ statement: string; readOnly: string }>(
        `SELECT current_setting('statement_timeout') AS statement, current_setting('transaction_read_only') AS "readOnly"`,
      );
      assert.deepEqual(rows, [{ statement: '1min', readOnly: 'on' }]);
      await as(connection, async () => {
        await assert.rejects(enter(connection), { code: '53300' });
      });
    });
    for (const ttl of ['30s', '9h', '1d'])
      assert.equal(Connect.safeParse({ reason: 'x', ttl }).success, false);
    assert.equal(Connect.safeParse({}).success, false);
  });

  it('ends with its time: the login is gone, and so are its sessions', async () => {
    const connection = await opened();
    await as(connection, async (client) => {
      const ended = new Promise<void>((resolve) => client.on('end', () => resolve()));
      await expire(connection.id);
      await carryAll();
      await ended;
    });
    await isRefused(connection);
    assert.deepEqual(await rolesLeft(), []);
    const closed = await found(connection.id);
    assert.deepEqual([closed?.state, closed?.closedBecause], ['closed', 'its time is over']);
    const entries = (await readChain(world.registry, 0, 1_000)).filter(
      ({ resource }) => resource === 'tenant:looked-into',
    );
    const ends = entries.filter(
      ({ after }) => (after as { connection?: string }).connection === connection.id,
    );
    assert.deepEqual(
      ends.map(({ action, reason }) => [action, reason]),
      [
        ['tenant.connect', 'INC-42'],
        ['tenant.connection_closed', 'its time is over'],
      ],
    );
    assert.ok(!JSON.stringify(entries).includes(connection.password));
  });

  it('is dropped also when it has left something behind that PostgreSQL lets everybody make', async () => {
    const connection = await opened();
    await as(connection, async (client) => {
      await client.query('SET default_transaction_read_only = off');
      await client.query('SELECT lo_create(0)');
    });
    await expire(connection.id);
    await carryAll();
    assert.deepEqual(await rolesLeft(), []);
  });

  it('is for two people at once, each with a login; who is connected stands with the tenant', async () => {
    const [one, two] = [await opened(), await opened()];
    assert.notEqual(one.login, two.login);
    await Promise.all([enter(one), enter(two)]);
    await assert.rejects(ask(), { code: 'too_many_connections' });
    const shown = await findTenant(world.registry, tenant.id);
    assert.deepEqual(
      shown?.connections.map(({ login, openedBy }) => [login, openedBy]),
      [
        [one.login, 'system'],
        [two.login, 'system'],
      ],
    );
    await world.request((request) => disconnect(request.tx, tenant.id, { id: one.id }, request));
    await carryAll();
    await isRefused(one);
    await enter(two);
    assert.equal((await found(one.id))?.closedBecause, 'closed by system');
    await carry((await ask()).id);
  });

  it('is finished by the next worker when the first one dies between the role and its record', async () => {
    const connection = await ask();
    await assert.rejects(cutBeforeCommit(connection.id), /cut off/);
    assert.equal((await found(connection.id))?.state, 'opening');
    await carry(connection.id);
    await enter(connection);
    await expire(connection.id);
    await assert.rejects(cutBeforeCommit(connection.id), /cut off/);
    assert.deepEqual(await rolesLeft(), []);
    assert.equal((await found(connection.id))?.state, 'open');
    await carry(connection.id);
    assert.equal((await found(connection.id))?.state, 'closed');
  });

  it('is removed when its worker died after making it, and its time was over before anybody came back', async () => {
    const connection = await ask();
    await assert.rejects(cutBeforeCommit(connection.id), /cut off/);
    assert.equal((await rolesLeft()).length, 1);
    await expire(connection.id);
    await carryAll();
    assert.deepEqual(await rolesLeft(), []);
  });

  /** The server has done its part, the registry's transaction is lost. */
  function cutBeforeCommit(id: string): Promise<void> {
    const driver = createConnectionDriver(world.deps);
    const cut: typeof driver = {
      ...driver,
      drive: (one, lease) =>
        driver.drive(one, {
          ...lease,
          transaction: (work) =>
            lease.transaction(async (tx) => {
              await work(tx);
              throw new Error('cut off');
            }),
        }),
    };
    return driveOnce(world.registry, cut, id).finally(() => world.registry.query('DELETE FROM leases'));
  }

  it('keeps no password, and the verifier only until the login is made', async () => {
    const connection = await ask();
    const verifier = async () =>
      (
        await world.registry.query<{ verifier: string | null }>(
          'SELECT verifier FROM connections WHERE id = $1',
          [connection.id],
        )
      ).rows[0]?.verifier;
    assert.match((await verifier()) ?? '', /^SCRAM-SHA-256\$/);
    await carry(connection.id);
    assert.equal(await verifier(), null);
  });

  it('waits for a migration before it grants, and lets one run that needs no grant', async () => {
    await opened();
    await asOwner(async (client) => {
      await client.query(`SELECT pg_advisory_lock(${MIGRATION_LOCK})`);
      await enter(await opened());
      await world.request((request) => disconnect(request.tx, tenant.id, {}, request));
      await carryAll();
      await client.query('CREATE TABLE locked (id int)');
      const waiting = await opened();
      assert.equal((await found(waiting.id))?.state, 'opening');
      await client.query(`DROP TABLE locked; SELECT pg_advisory_unlock(${MIGRATION_LOCK})`);
      await carry(waiting.id);
      await enter(waiting);
    });
  });

  it('is no part of the schema that migrations make', async () => {
    await opened();
    await asOwner(async (client) => {
      const names = databaseNames(databaseId());
      await client.query('BEGIN');
      const { description } = await readSchema(client, { ...names, logins: [names.loginA, names.loginB] });
      assert.doesNotMatch(description, /_ro/);
      await client.query('ROLLBACK');
    });
  });

  it('ends with the suspension of the tenant, at once, and is not opened to one that is not active', async () => {
    const suspended = await world.create('soon-suspended');
    const connection = await world.request((request) =>
      connect(request.tx, suspended.id, Connect.parse({ reason: 'INC-42' }), request),
    );
    await carry(connection.id);
    await world.drive(
      await world.request((request) => startSuspendTenant(request.tx, suspended.id, request)),
    );
    await isRefused(connection);
    await carryAll();
    const closed = await findConnection(world.registry, suspended.id, connection.id);
    assert.equal(closed?.closedBecause, 'the tenant is suspended');
    await assert.rejects(
      world.request((request) =>
        connect(request.tx, suspended.id, Connect.parse({ reason: 'INC-42' }), request),
      ),
      { code: 'wrong_state' },
    );
  });

  it('leaves no role behind when the tenant is deleted while somebody is connected', async () => {
    const gone = await world.create('soon-deleted');
    const connection = await world.request((request) =>
      connect(request.tx, gone.id, Connect.parse({ reason: 'INC-42' }), request),
    );
    await carry(connection.id);
    await world.remove(gone.id);
    assert.ok(!(await world.inventory()).some((item) => item.includes(gone.database ?? '')));
    await carryAll();
    const closed = await findConnection(world.registry, gone.id, connection.id);
    assert.equal(closed?.closedBecause, 'the tenant is deleted');
  });
});
