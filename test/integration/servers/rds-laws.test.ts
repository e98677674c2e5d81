import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { openGuard } from '../../../control-plane/drift/guard.ts';
import { bindOperation, type BoundOperation } from '../../../control-plane/operations/definition.ts';
import { createOperationDriver } from '../../../control-plane/operations/engine.ts';
import { getOperation } from '../../../control-plane/operations/store.ts';
import { migrateQueue } from '../../../control-plane/operations/worker.ts';
import { createSecrets } from '../../../control-plane/secrets/secret.ts';
import { createServerAccess, type ServerAccess } from '../../../control-plane/servers/access.ts';
import { createServer, startCreateServer } from '../../../control-plane/servers/create.ts';
import { deleteServer, startDeleteServer } from '../../../control-plane/servers/delete.ts';
import { stopCluster, type Cluster } from '../../../control-plane/servers/providers/cluster.ts';
import type { Instances } from '../../../control-plane/servers/providers/rds/instances.ts';
import { snapshotServer, startSnapshot } from '../../../control-plane/servers/snapshot.ts';
import { modifyServer, startModify } from '../../../control-plane/servers/modify.ts';
import { findServer } from '../../../control-plane/servers/store.ts';
import { createTenant, startCreateTenant } from '../../../control-plane/tenants/create.ts';
import { deleteTenant, startDeleteTenant } from '../../../control-plane/tenants/delete.ts';
import type { TenantDeps } from '../../../control-plane/tenants/deps.ts';
import { resumeTenant, startResumeTenant } from '../../../control-plane/tenants/resume.ts';
import { findTenant } from '../../../control-plane/tenants/store.ts';
import { startSuspendTenant, suspendTenant } from '../../../control-plane/tenants/suspend.ts';
import { CreateTenant } from '../../../contract/tenant.ts';
import { addressUrl } from '../../../platform/pg.ts';
import { startTestCluster } from '../../support/clusters.ts';
import { driveToEnd } from '../../support/drive.ts';
import { obeysTheLaws, type Subject } from '../../support/laws.ts';
import { motoTitle, skipWithoutMoto, startMoto, type Moto } from '../../support/moto.ts';
import { motoRds, prepareSite, slow } from '../../support/rds.ts';
import { freshRegistry, quietLogger, type TestRegistry } from '../../support/registry.ts';
import { makeServersFolder } from '../../support/test-run.ts';
import { addRegions, request } from './support.ts';

/** moto does everything at once; here each change shows at the second look, as on AWS it does after minutes. */
describe(`operations on RDS, which takes its time, ${motoTitle}`, function () {
  this.timeout(60_000);
  let moto: Moto;
  let instances: Instances;
  let test: TestRegistry;
  let cluster: Cluster;
  let folder: string;
  let servers: ServerAccess;
  let operations: ReadonlyMap<string, BoundOperation>;
  let deps: TenantDeps;
  const secrets = createSecrets(randomBytes(32));

  before(async function () {
    skipWithoutMoto(this);
    folder = makeServersFolder();
    [moto, test, cluster] = await Promise.all([startMoto(), freshRegistry(), startTestCluster(folder)]);
    await migrateQueue(test.registry);
    await Promise.all([prepareSite(moto), addRegions(test.registry)]);
    const url = addressUrl(cluster.superuser);
    const rds = motoRds(moto, { 'fleet-law': url, 'fleet-tenant-law': url }, slow);
    instances = rds.instances;
    const { registry } = test;
    servers = createServerAccess({ registry, secrets, logger: quietLogger });
    deps = {
      ...{ registry, secrets, servers, rds, logger: quietLogger },
      throttle: () => () => Promise.resolve(null),
      guard: (databaseId) => openGuard(deps)(databaseId, null),
    };
    const embedded = { clustersFolder: folder, masterKey: randomBytes(32) };
    const bound = [
      bindOperation(createServer, { ...deps, ...embedded }),
      bindOperation(deleteServer, deps),
      bindOperation(snapshotServer, deps),
      bindOperation(modifyServer, deps),
      ...[createTenant, deleteTenant].map((definition) => bindOperation(definition as never, deps)),
      ...[suspendTenant, resumeTenant].map((definition) => bindOperation(definition, deps)),
    ];
    operations = new Map(bound.map((one) => [one.kind, one]));
  });
  after(async () => {
    await servers?.close();
    instances?.close();
    await Promise.all([moto?.stop(), test?.drop(), folder && stopCluster(folder, 'immediate')]);
  });

  const drive = async (id: string): Promise<void> => {
    const driver = createOperationDriver({ registry: test.registry, operations, logger: quietLogger });
    await driveToEnd(test.registry, driver, id);
    const operation = await getOperation(test.registry, id);
    assert.equal(operation?.state, 'succeeded', JSON.stringify(operation?.error));
  };
  const began = (work: Parameters<TestRegistry['registry']['transaction']>[0]) =>
    test.registry.transaction(work) as Promise<string>;

  /** What is in RDS and in the registry; a final snapshot stays on purpose. */
  async function inventory(): Promise<string[]> {
    const { rows } = await test.registry.query<{ item: string }>(
      `SELECT 'server ' || name AS item FROM servers WHERE state <> 'retired'
       UNION ALL SELECT 'database ' || id FROM databases WHERE state <> 'dropped'
       UNION ALL SELECT 'version ' || id FROM secret_versions WHERE stage <> 'retired'
       UNION ALL SELECT 'key ' || owner FROM data_keys WHERE destroy_at IS NULL`,
    );
    const there = await instances.list('eu');
    return [...rows.map(({ item }) => item), ...there.map(({ identifier }) => identifier)].sort();
  }

  const makeServer = () =>
    began(async (tx) => {
      const wanted = {
        name: 'law',
        region: 'eu',
        provider: 'rds',
        mode: 'shared',
        maxConnections: 100,
      } as const;
      return (await startCreateServer(tx, wanted, request, deps)).operationId;
    });
  const removeServer = () =>
    began(async (tx) => {
      const server = await findServer(tx, 'law');
      if (server === undefined) throw new Error('there is no server');
      return (await startDeleteServer(tx, server, { ...request, ifMatch: undefined })).operationId;
    });
  const subject = (begin: Subject['begin'], settle: Subject['settle']): Subject => ({
    ...{ registry: test.registry, operations, inventory, begin, settle },
    discard: () => Promise.resolve(),
  });

  const only = <T extends { steps: { name: string }[]; cancellable: boolean }>(
    { steps, cancellable }: T,
    ...names: string[]
  ) => ({ steps: steps.filter(({ name }) => names.includes(name)), cancellable });

  // The other steps have their cells where all servers have them (laws.test.ts).
  obeysTheLaws('server.create', only(createServer, 'start'), () =>
    subject(makeServer, async () => {
      assert.equal((await findServer(test.registry, 'law'))?.state, 'ready');
      await drive(await removeServer());
    }),
  );

  obeysTheLaws('server.delete', deleteServer, () =>
    subject(
      async () => {
        await drive(await makeServer());
        return removeServer();
      },
      async () => assert.equal((await findServer(test.registry, 'law'))?.state, 'retired'),
    ),
  );

  obeysTheLaws('server.snapshot', snapshotServer, () => ({
    ...subject(
      async () => {
        await drive(await makeServer());
        return began(async (tx) => {
          const server = await findServer(tx, 'law');
          if (server === undefined) throw new Error('there is no server');
          return (await startSnapshot(tx, server, request)).operationId;
        });
      },
      async () => drive(await removeServer()),
    ),
    discard: async () => drive(await removeServer()),
  }));

  obeysTheLaws('server.modify', modifyServer, () => ({
    ...subject(
      async () => {
        await drive(await makeServer());
        return began(async (tx) => {
          const server = await findServer(tx, 'law');
          if (server === undefined) throw new Error('there is no server');
          return startModify(tx, server, { instanceClass: 'db.m7g.large' }, request);
        });
      },
      async () => {
        const found = await instances.find({ region: 'eu', identifier: 'fleet-law' });
        assert.equal(found?.spec.instanceClass, 'db.m7g.large');
        await drive(await removeServer());
      },
    ),
    discard: async () => drive(await removeServer()),
  }));

  const makeTenant = () =>
    began(async (tx) => {
      const body = CreateTenant.parse({ slug: 'law', region: 'eu', tier: 'enterprise' });
      return (await startCreateTenant(tx, body, request, deps)).operationId;
    });
  const removeTenant = () =>
    began(async (tx) => (await startDeleteTenant(tx, 'law', 'law', request)).operationId);
  const tenantState = async () => (await findTenant(test.registry, 'law'))?.state;
  const instanceStatus = async () =>
    (await instances.find({ region: 'eu', identifier: 'fleet-tenant-law' }))?.status;
  // The other steps have their cells where all tenants have them (tenants/laws.test.ts).
  obeysTheLaws('tenant.create', only(createTenant, 'reserve', 'server'), () => ({
    ...subject(makeTenant, async () => {
      assert.equal(await tenantState(), 'active');
      await drive(await removeTenant());
    }),
    discard: async () => drive(await removeTenant()),
  }));

  obeysTheLaws('tenant.suspend', only(suspendTenant, 'server'), () =>
    subject(
      async () => {
        await drive(await makeTenant());
        return began((tx) => startSuspendTenant(tx, 'law', request));
      },
      async () => {
        assert.deepEqual([await tenantState(), await instanceStatus()], ['suspended', 'stopped']);
        await drive(await removeTenant());
      },
    ),
  );

  obeysTheLaws('tenant.resume', only(resumeTenant, 'server'), () => ({
    ...subject(
      async () => {
        await drive(await makeTenant());
        await drive(await began((tx) => startSuspendTenant(tx, 'law', request)));
        return began((tx) => startResumeTenant(tx, 'law', request));
      },
      async () => {
        assert.deepEqual([await tenantState(), await instanceStatus()], ['active', 'available']);
        await drive(await removeTenant());
      },
    ),
    discard: async () => {
      assert.deepEqual([await tenantState(), await instanceStatus()], ['suspended', 'stopped']);
      await drive(await removeTenant());
    },
  }));

  obeysTheLaws('tenant.delete', only(deleteTenant, 'server'), () =>
    subject(
      async () => {
        await drive(await makeTenant());
        return removeTenant();
      },
      async () => assert.equal(await instanceStatus(), undefined),
    ),
  );
});
