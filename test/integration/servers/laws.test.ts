import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bindOperation } from '../../../control-plane/operations/definition.ts';
import { getOperation } from '../../../control-plane/operations/store.ts';
import { createSecrets } from '../../../control-plane/secrets/secret.ts';
import { createServerAccess } from '../../../control-plane/servers/access.ts';
import { addServer, startAddServer } from '../../../control-plane/servers/add.ts';
import { removeServer } from '../../../control-plane/servers/change.ts';
import { createServer, startCreateServer } from '../../../control-plane/servers/create.ts';
import { checkServers } from '../../../control-plane/servers/health.ts';
import { embeddedProvider } from '../../../control-plane/servers/providers/embedded.ts';
import { stopCluster, type Cluster } from '../../../control-plane/servers/providers/cluster.ts';
import { findServer } from '../../../control-plane/servers/store.ts';
import { addressUrl, withClient, type PgAddress } from '../../../platform/pg.ts';
import { startTestCluster } from '../../support/clusters.ts';
import { obeysTheLaws, type Subject } from '../../support/laws.ts';
import { freshRegistry, quietLogger, type TestRegistry } from '../../support/registry.ts';
import { addRegions, request } from './support.ts';

describe('operations on servers', function () {
  this.timeout(120_000);
  let test: TestRegistry;
  let folder: string;
  let cluster: Cluster;
  const masterKey = randomBytes(32);
  const secrets = createSecrets(masterKey);
  const limits = { mode: 'shared', maxDatabases: 10, maxConnections: 100 } as const;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'flotilla-servers-'));
    chmodSync(folder, 0o711);
    test = await freshRegistry();
    await addRegions(test.registry);
    cluster = await startTestCluster(join(folder, 'given'));
  });
  after(async () => {
    await stopCluster(join(folder, 'given'), 'immediate');
    await test.drop();
    rmSync(folder, { recursive: true, force: true });
  });

  function deps() {
    return {
      registry: test.registry,
      secrets,
      masterKey,
      logger: quietLogger,
      clustersFolder: join(folder, 'clusters'),
      clusterSettings: { fsync: 'off', max_connections: '20', archive_mode: 'off' },
    };
  }

  function subject(
    begin: Subject['begin'],
    remove: (serverId: string, name: string) => Promise<void>,
  ): Subject {
    const operations = new Map(
      [bindOperation(addServer, deps()), bindOperation(createServer, deps())].map((one) => [one.kind, one]),
    );
    return {
      registry: test.registry,
      operations,
      begin,
      inventory,
      settle: async (operationId) => {
        const name = (await getOperation(test.registry, operationId))?.subjectName ?? '';
        const server = await findServer(test.registry, name);
        assert.equal(server?.state, 'ready');
        assert.equal(server.adminUser, 'fleet_admin');
        await assertAdminWorks(server.id);
        const change = { ...request, ifMatch: undefined };
        await test.registry.transaction((tx) => removeServer(tx, secrets, server, change));
        await remove(server.id, name);
      },
      discard: () => Promise.resolve(),
    };
  }

  /** Everything outside the operation's own history: servers, keys, sealed values, roles, folders. */
  async function inventory(): Promise<string[]> {
    const { rows } = await test.registry.query<{ item: string }>(
      `SELECT 'server ' || name AS item FROM servers WHERE state <> 'retired'
       UNION ALL SELECT 'key ' || owner FROM data_keys
       UNION ALL SELECT 'sealed ' || version_id FROM sealed_secrets
       UNION ALL SELECT 'version ' || id FROM secret_versions WHERE stage <> 'retired'`,
    );
    const roles = await withClient(cluster.superuser, { applicationName: 'test' }, (client) =>
      client.query<{ rolname: string }>("SELECT rolname FROM pg_roles WHERE rolname LIKE 'fleet%'"),
    );
    const folders = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
      (path) => path.startsWith('clusters/') && path.split('/').length === 2,
    );
    return [...rows.map((row) => row.item), ...roles.rows.map((row) => row.rolname), ...folders].sort();
  }

  async function assertAdminWorks(serverId: string): Promise<void> {
    const servers = createServerAccess(deps());
    const { rows } = await servers.admin(serverId, (client) =>
      client.query<{ ok: boolean }>(
        `SELECT rolcreatedb AND rolcreaterole AND NOT rolsuper AS ok FROM pg_roles WHERE rolname = current_user`,
      ),
    );
    assert.equal(rows[0]?.ok, true);
    await checkServers({ ...deps(), servers });
    assert.equal(await secrets.previous(test.registry, `server:${serverId}`), undefined);
    await servers.close();
  }

  function uniqueName(): string {
    return `s-${randomUUID()}`;
  }

  async function dropAdmin(superuser: PgAddress): Promise<void> {
    await withClient(superuser, { applicationName: 'test' }, async (client) => {
      await client.query('DROP OWNED BY fleet_admin');
      await client.query('DROP ROLE fleet_admin');
    });
  }

  obeysTheLaws('server.add', addServer, () =>
    subject(
      async () => {
        const wanted = { name: uniqueName(), region: 'eu', url: addressUrl(cluster.superuser), ...limits };
        const started = await test.registry.transaction((tx) => startAddServer(tx, secrets, wanted, request));
        return started.operationId;
      },
      () => dropAdmin(cluster.superuser),
    ),
  );

  obeysTheLaws('server.create', createServer, () =>
    subject(
      async () => {
        const wanted = { name: uniqueName(), region: 'eu', provider: 'embedded', ...limits } as const;
        const started = await test.registry.transaction((tx) => startCreateServer(tx, wanted, request));
        return started.operationId;
      },
      (id, name) => embeddedProvider(deps(), { id, name }).discard(),
    ),
  );
});
