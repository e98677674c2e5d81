import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { bindOperation } from '../../../control-plane/operations/definition.ts';
import { getOperation } from '../../../control-plane/operations/store.ts';
import { createSecrets } from '../../../control-plane/secrets/secret.ts';
import { createServer, startCreateServer } from '../../../control-plane/servers/create.ts';
import type { Instances } from '../../../control-plane/servers/providers/rds/instances.ts';
import type { Rds } from '../../../control-plane/servers/providers/rds/rds.ts';
import { findServer } from '../../../control-plane/servers/store.ts';
import { addressUrl } from '../../../platform/pg.ts';
import type { Cluster } from '../../../control-plane/servers/providers/cluster.ts';
import { stopCluster } from '../../../control-plane/servers/providers/cluster.ts';
import { obeysTheLaws, type Subject } from '../../support/laws.ts';
import { startTestCluster } from '../../support/clusters.ts';
import { motoTitle, skipWithoutMoto, startMoto, type Moto } from '../../support/moto.ts';
import { motoRds, prepareSite } from '../../support/rds.ts';
import { freshRegistry, quietLogger, type TestRegistry } from '../../support/registry.ts';
import { makeServersFolder } from '../../support/test-run.ts';
import { addRegions, request } from './support.ts';

describe(`operations on servers on RDS ${motoTitle}`, function () {
  let moto: Moto;
  let rds: Rds;
  let test: TestRegistry;
  let cluster: Cluster;
  let folder: string;
  const secrets = createSecrets(randomBytes(32));

  before(async function () {
    skipWithoutMoto(this);
    folder = makeServersFolder();
    [moto, test, cluster] = await Promise.all([startMoto(), freshRegistry(), startTestCluster(folder)]);
    await Promise.all([prepareSite(moto), addRegions(test.registry)]);
    rds = motoRds(moto, { any: '' });
  });
  after(async () => {
    rds?.instances.close();
    await Promise.all([moto?.stop(), test?.drop(), stopCluster(folder, 'immediate')]);
  });

  it('x', async () => {
    const name = 's-1';
    rds = motoRds(moto, { [`fleet-${name}`]: addressUrl(cluster.superuser) });
    const deps = { registry: test.registry, secrets, rds, logger: quietLogger, clustersFolder: '', masterKey: Buffer.alloc(32) };
    const { driveToEnd } = await import('../../support/drive.ts');
    const { createOperationDriver } = await import('../../../control-plane/operations/engine.ts');
    const started = await test.registry.transaction((tx) => startCreateServer(tx, { name, region: 'eu', provider: 'rds', mode: 'shared', maxConnections: 10_000 }, request, { rds }));
    const op = bindOperation(createServer, deps);
    const driver = createOperationDriver({ registry: test.registry, operations: new Map([[op.kind, op]]), logger: { ...console, warn: console.log } as never });
    await driveToEnd(test.registry, driver, started.operationId);
    console.log(JSON.stringify(await getOperation(test.registry, started.operationId), null, 1));
    console.log(await rds.instances.find({ region: 'eu', identifier: 'fleet-s-1' }));
    console.log(await findServer(test.registry, name));
  });
});
