import assert from 'node:assert/strict';
import type { Tenant } from '../../../contract/tenant.ts';
import { bindOperation } from '../../../control-plane/operations/definition.ts';
import { createOperationDriver, type ProbePoint } from '../../../control-plane/operations/engine.ts';
import { cancelOperation } from '../../../control-plane/operations/operation.ts';
import { getOperation } from '../../../control-plane/operations/store.ts';
import { rotateServer } from '../../../control-plane/rotations/servers/rotate.ts';
import { startRotateServer } from '../../../control-plane/rotations/servers/start.ts';
import { FLEET_ADMIN } from '../../../control-plane/servers/inspect.ts';
import { sqlState } from '../../../platform/errors.ts';
import { withClient } from '../../../platform/pg.ts';
import { clusters } from '../../support/clusters.ts';
import { driveOnce } from '../../support/drive.ts';
import { quietLogger } from '../../support/registry.ts';
import { startWorld, type World } from '../tenants/world.ts';
import { openFresh, type Ways } from './server-ways.ts';

class Cut extends Error {}

describe("rotating a server's credentials", () => {
  let world: World;
  let tenant: Tenant;
  /** Of a process that has known the credentials since before, and one that starts in the middle. */
  let known: Ways;
  before(async () => {
    world = await startWorld();
    await world.publish(1);
    tenant = await world.create('server-one');
  });
  after(() => world.stop());
  beforeEach(async () => {
    known = await openFresh(world, tenant);
    await known.migrator();
  });
  afterEach(() => known.close());

  const begin = () => world.request((request) => startRotateServer(request.tx, 'eu-1', request));
  /** Drives it to a point where its owner dies. */
  async function cutAt(id: string, here: (point: ProbePoint) => boolean): Promise<void> {
    const driver = createOperationDriver({
      ...{ registry: world.registry, operations: world.operations, logger: quietLogger },
      probe: (point) => {
        if (here(point)) throw new Cut();
      },
    });
    await assert.rejects(driveOnce(world.registry, driver, id), Cut);
  }
  const afterSet = ({ step, moment, direction }: ProbePoint): boolean =>
    step === 'set' && moment === 'after-effect' && direction === 'forward';
  const afterCreate = ({ step, moment, direction }: ProbePoint): boolean =>
    step === 'create' && moment === 'after-effect' && direction === 'forward';
  /** Nobody may be locked out, whenever they have begun to know. */
  async function allWaysWork(...more: Tenant[]): Promise<void> {
    const fresh = await openFresh(world, tenant);
    for (const ways of [known, fresh]) {
      await ways.admin();
      for (const one of [tenant, ...more]) await ways.migrator(one);
    }
    await fresh.close();
  }

  it('takes the old passwords out of use, and nobody is locked out', async () => {
    const before = await known.servers.address(known.serverId, 'postgres');
    // Whichever is first; the other one joins it, or is refused in the same instant.
    const both = await Promise.allSettled([begin(), begin()]);
    const begun = both.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const [started] = begun;
    assert.ok(started !== undefined);
    assert.ok(begun.every(({ operationId }) => operationId === started.operationId));
    assert.equal(await world.drive(started.operationId), 'succeeded');
    await allWaysWork();
    const old = withClient({ ...before, renew: undefined }, { applicationName: 'test' }, (client) =>
      client.query('SELECT 1'),
    );
    await assert.rejects(old, (error: unknown) => sqlState(error) === '28P01');
  });

  it('locks nobody out while it stands between the server and the registry, nor when it goes on', async () => {
    const { operationId } = await begin();
    await cutAt(operationId, afterSet);
    await allWaysWork();
    const born = await world.create('server-born-between');
    await allWaysWork(born);
    assert.equal(await world.drive(operationId), 'succeeded');
    await allWaysWork(born);
    await world.remove(born.id);
  });

  it('locks nobody out when it is taken back, tenants of the time between included', async () => {
    const { operationId } = await begin();
    await cutAt(operationId, afterSet);
    const born = await world.create('server-born-before-undo');
    await world.request((request) => cancelOperation(request.tx, operationId, world.operations, request));
    assert.equal(await world.drive(operationId), 'cancelled');
    await allWaysWork(born);
    await world.remove(born.id);
  });

  it('gives a login that is made at the same time the password that counts in the end', async () => {
    const { operationId } = await begin();
    const verifiers: string[] = [];
    await known.servers.makeMigrators(known.serverId, async (verifier) => {
      verifiers.push(verifier);
      if (verifiers.length === 1) assert.equal(await world.drive(operationId), 'succeeded');
    });
    assert.equal(verifiers.length, 2);
  });

  it('fails no migration that connects meanwhile', async () => {
    const stopping = new AbortController();
    let connections = 0;
    const migrating = [known, await openFresh(world, tenant)].map(async (ways, index) => {
      while (!stopping.signal.aborted) {
        await ways.migrator();
        connections += 1;
      }
      if (index > 0) await ways.close();
    });
    for (let turn = 0; turn < 4; turn += 1) {
      const { operationId } = await begin();
      assert.equal(await world.drive(operationId), 'succeeded');
    }
    stopping.abort();
    await Promise.all(migrating);
    assert.ok(connections > 8, String(connections));
  });

  it('is refused clearly by a server whose admin may not change its own password, and changes nothing', async () => {
    const { superuser } = clusters().eu;
    const onServer = (sql: string) =>
      withClient(superuser, { applicationName: 'test' }, (client) => client.query(sql));
    // As a login whose rights are another role's: to PostgreSQL it is not its own password then.
    await onServer(`CREATE ROLE rotate_nobody; GRANT rotate_nobody TO ${FLEET_ADMIN};
      ALTER ROLE ${FLEET_ADMIN} SET role = 'rotate_nobody'`);
    try {
      const fresh = await openFresh(world, tenant);
      const { operationId } = await begin();
      const deps = { ...world.deps, servers: fresh.servers };
      const operations = new Map([[rotateServer.kind, bindOperation(rotateServer, deps)]]);
      await driveOnce(
        world.registry,
        createOperationDriver({ ...world, operations, logger: quietLogger }),
        operationId,
      );
      const operation = await getOperation(world.registry, operationId);
      assert.equal(operation?.state, 'failed');
      assert.match(operation.error?.message ?? '', /may not change its own password/);
      await fresh.close();
    } finally {
      await onServer(`ALTER ROLE ${FLEET_ADMIN} RESET role; DROP ROLE rotate_nobody`);
    }
    await allWaysWork();
    const { rows } = await world.registry.query("SELECT FROM secret_versions WHERE stage = 'pending'");
    assert.equal(rows.length, 0);
  });

  it('follows one whose undo could not reach the server, whichever password is in force there', async () => {
    for (const whereItWasCut of [afterSet, afterCreate]) {
      const first = await begin();
      await cutAt(first.operationId, whereItWasCut);
      // As when the server is away for longer than undoing is tried.
      await world.registry.query(
        "UPDATE operations SET state = 'failed', direction = 'backward', finished_at = now() WHERE id = $1",
        [first.operationId],
      );
      const next = await begin();
      await cutAt(next.operationId, afterCreate);
      await allWaysWork();
      assert.equal(await world.drive(next.operationId), 'succeeded');
      await allWaysWork();
      const { rows } = await world.registry.query(
        `SELECT FROM secret_versions v WHERE stage = 'pending'
            OR stage = 'retired' AND EXISTS (SELECT FROM sealed_secrets WHERE version_id = v.id)`,
      );
      assert.equal(rows.length, 0);
    }
  });

  it('is refused while the server is stopped on purpose', async () => {
    await world.registry.query(
      "INSERT INTO rds_instances (server_id, identifier, spec, stopped) VALUES ($1, 'eu-1', '{}', true)",
      [known.serverId],
    );
    await assert.rejects(begin(), { code: 'server_stopped', status: 409 });
    await world.registry.query('DELETE FROM rds_instances');
    const { operationId } = await begin();
    assert.equal(await world.drive(operationId), 'succeeded');
  });

  it('is refused for a server that the fleet has given up', async () => {
    await assert.rejects(
      world.request((request) => startRotateServer(request.tx, 'nowhere', request)),
      { code: 'server_not_found', status: 404 },
    );
    await world.registry.query("UPDATE servers SET state = 'retired' WHERE name = 'us-1'");
    await assert.rejects(
      world.request((request) => startRotateServer(request.tx, 'us-1', request)),
      { code: 'wrong_state', status: 409 },
    );
    await world.registry.query("UPDATE servers SET state = 'ready' WHERE name = 'us-1'");
  });
});
