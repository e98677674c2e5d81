import assert from 'node:assert/strict';
import { mkdtempSync, chmodSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import { publishRelease } from '../../../control-plane/releases/publish.ts';
import { setCurrentRelease } from '../../../control-plane/releases/store.ts';
import {
  dropStaleTemplates,
  ensureTemplate,
  TEMPLATE_OWNER,
} from '../../../control-plane/releases/template.ts';
import { stopCluster } from '../../../control-plane/servers/providers/cluster.ts';
import type { ServerAccess } from '../../../control-plane/servers/access.ts';
import type { PgAddress } from '../../../platform/pg.ts';
import { startTestCluster } from '../../support/clusters.ts';
import { freshRegistry, quietLogger, type TestRegistry } from '../../support/registry.ts';
import { until } from '../../support/until.ts';
import { accessTo, makeTestServer, read, rendered, run, type TestServer } from './tenant-database.ts';

const SERVER = 'server';

describe('golden template', () => {
  let folder: string;
  let superuser: PgAddress;
  let server: TestServer;
  let servers: ServerAccess;
  let test: TestRegistry;

  // A server of its own: the template's owner is one role for all databases of a server.
  before(async function () {
    this.timeout(120_000);
    folder = mkdtempSync(join(tmpdir(), 'flotilla-template-'));
    chmodSync(folder, 0o711);
    const cluster = await startTestCluster(join(folder, 'cluster'));
    superuser = cluster.superuser;
    server = await makeTestServer(cluster);
    servers = accessTo(server);
  });
  after(async () => {
    await servers.close();
    await stopCluster(join(folder, 'cluster'), 'immediate');
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    test = await freshRegistry();
  });
  afterEach(async () => {
    for (const name of await templates()) await run(superuser, `DROP DATABASE ${name} WITH (FORCE)`);
    await test.drop();
  });

  const deps = (access = servers) => ({ registry: test.registry, servers: access, logger: quietLogger });

  async function templates(): Promise<string[]> {
    const rows = await read<{ name: string }>(
      superuser,
      `SELECT datname AS name FROM pg_database WHERE datname LIKE 'fleet\\_template%' ORDER BY 1`,
    );
    return rows.map(({ name }) => name);
  }

  /** Without the checksum of the release, which tells fleets on one server apart. */
  const short = (names: string[]): string[] => names.map((name) => name.replace(/_[0-9a-f]{12}$/, ''));

  async function publish(...sql: string[]): Promise<string> {
    return test.registry.transaction(async (tx) => {
      const name = await publishRelease(tx, { migrations: rendered(...sql) }, SYSTEM_CALLER, null);
      await setCurrentRelease(tx, name);
      return name;
    });
  }

  it('is an empty schema before the first release', async () => {
    assert.deepEqual(await ensureTemplate(deps(), SERVER), {
      template: 'fleet_template_0',
      schemaVersion: null,
    });
    await run(server.admin, 'CREATE DATABASE copy TEMPLATE fleet_template_0');
    const copy = { ...superuser, database: 'copy' };
    assert.deepEqual(await read(copy, 'SELECT count(*)::int AS n FROM pgmigrations'), [{ n: 0 }]);
    assert.deepEqual(await read(copy, 'SELECT * FROM fleet.identity'), []);
    await run(superuser, 'DROP DATABASE copy');
  });

  it('holds the current release, and its copies can be given to a tenant', async () => {
    await publish('CREATE TABLE a (id serial PRIMARY KEY)', "CREATE TYPE mood AS ENUM ('ok')");
    const { template, schemaVersion } = await ensureTemplate(deps(), SERVER);
    assert.deepEqual([...short([template]), schemaVersion], ['fleet_template_2', '0002_m']);

    await run(server.admin, 'CREATE ROLE tenant_owner NOLOGIN; GRANT tenant_owner TO CURRENT_USER');
    await run(server.admin, `CREATE DATABASE copy OWNER tenant_owner TEMPLATE ${template}`);
    const asAdmin = { ...server.admin, database: 'copy' };
    await run(asAdmin, `REASSIGN OWNED BY ${TEMPLATE_OWNER} TO tenant_owner`);
    const rows = await read(asAdmin, 'SELECT name FROM fleet.migrations ORDER BY name');
    assert.deepEqual(rows, [{ name: '0001_m' }, { name: '0002_m' }]);
    const owners = await read(
      { ...superuser, database: 'copy' },
      `SELECT DISTINCT pg_get_userbyid(relowner) AS owner FROM pg_class WHERE relnamespace = 'public'::regnamespace`,
    );
    assert.deepEqual(owners, [{ owner: 'tenant_owner' }]);
    await run(superuser, 'DROP DATABASE copy; ');
    await run(superuser, 'DROP ROLE tenant_owner');
  });

  it('takes no connections', async () => {
    const { template } = await ensureTemplate(deps(), SERVER);
    await assert.rejects(read({ ...superuser, database: template }, 'SELECT 1'), { code: '55000' });
  });

  it('is built once for many callers, in one process and in two', async () => {
    await publish('CREATE TABLE a (id int); SELECT pg_sleep(0.2)');
    const other = accessTo(server);
    try {
      const all = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          ensureTemplate(deps(index % 2 === 0 ? servers : other), SERVER),
        ),
      );
      assert.deepEqual(new Set(short(all.map(({ template }) => template))), new Set(['fleet_template_1']));
      assert.deepEqual(short(await templates()), ['fleet_template_1']);
    } finally {
      await other.close();
    }
  });

  it('replaces the one of the release before', async () => {
    await publish('CREATE TABLE a (id int)');
    await ensureTemplate(deps(), SERVER);
    await publish('CREATE TABLE a (id int)', 'CREATE TABLE b (id int)');
    await ensureTemplate(deps(), SERVER);
    assert.deepEqual(short(await templates()), ['fleet_template_2']);
  });

  it('survives a builder that is killed half-way', async () => {
    await publish('CREATE TABLE a (id int); SELECT pg_sleep(1)');
    const doomed = accessTo(server);
    const building = ensureTemplate(deps(doomed), SERVER);
    building.catch(() => undefined);
    const sleeping = await until('the build runs', async () => {
      const [row] = await read<{ pid: number }>(
        superuser,
        `SELECT pid FROM pg_stat_activity WHERE datname LIKE 'fleet\\_template\\_build\\_1\\_%' AND query ~ 'pg_sleep'`,
      );
      return row;
    });
    await read(superuser, 'SELECT pg_terminate_backend($1)', [sleeping.pid]);
    await assert.rejects(building);
    await doomed.close();
    assert.deepEqual(short(await templates()), ['fleet_template_build_1']);

    await ensureTemplate(deps(), SERVER);
    assert.deepEqual(short(await templates()), ['fleet_template_1']);
  });

  it('drops stale templates and given-up builds on request, never the current one', async () => {
    await publish('CREATE TABLE a (id int)');
    await ensureTemplate(deps(), SERVER);
    await run(server.admin, 'CREATE DATABASE fleet_template_build_7 TEMPLATE template0');
    await run(server.admin, 'CREATE DATABASE fleet_template_9 TEMPLATE template0');
    const dropped = await dropStaleTemplates(deps(), SERVER);
    assert.deepEqual(dropped, ['fleet_template_9', 'fleet_template_build_7']);
    assert.deepEqual(short(await templates()), ['fleet_template_1']);
  });
});
