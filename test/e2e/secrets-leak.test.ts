import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { keysOf } from '../../control-plane/secrets/keys/master-key.ts';
import { dataFiles } from '../../platform/config.ts';
import { quoteIdent, withClient } from '../../platform/pg.ts';
import { callTenant } from '../support/api.ts';
import { clusters, clustersFolder } from '../support/clusters.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import { operationIdOf, startFleet, type Fleet } from '../support/fleet.ts';

describe('secrets', function () {
  this.timeout(90_000);
  let fleet: Fleet;
  let logged = '';
  const needles = new Map<string, string>();

  before(async () => {
    const logger = recordingLogger((line) => {
      logged += line;
    });
    await logStatements("'all'");
    fleet = await startFleet({ logger });
    await fleet.startApp('eu');
    await fleet.createTenant('leaky', 'eu');
    await callTenant(fleet.apps.eu?.url ?? '', 'leaky.eu.localhost', 'GET', '/api/v1/whoami');
    await collectSecrets();
    await provokeErrors();
  });
  after(async () => {
    await logStatements('DEFAULT');
    await fleet.stop();
  });

  /** The servers log every statement while this suite runs. */
  async function logStatements(value: string): Promise<void> {
    for (const { superuser } of Object.values(clusters())) {
      await withClient(superuser, { applicationName: 'test' }, async (client) => {
        await client.query(`ALTER SYSTEM SET log_statement = ${value}`);
        await client.query('SELECT pg_reload_conf()');
      });
    }
  }

  async function collectSecrets(): Promise<void> {
    const { deps } = fleet.controlPlane;
    const { rows } = await fleet.registry.query<{ id: string; subject: string }>(
      'SELECT id, subject FROM secret_versions',
    );
    for (const row of rows)
      needles.set(`password of ${row.subject}`, await deps.secrets.password(fleet.registry, row.id));
    const [masterKey] = keysOf(deps.masterKey);
    needles.set('master key', masterKey?.toString('base64') ?? '');
    needles.set('master key in hex', masterKey?.toString('hex') ?? '');
    needles.set("admin's token", fleet.adminToken);
    needles.set("app's token", readFileSync(dataFiles(fleet.config.dataDir).appToken('eu'), 'utf8').trim());
    for (const region of ['eu', 'us'] as const)
      needles.set(`superuser of ${region}`, clusters()[region].superuser.password);
    for (const [name, secret] of [...needles]) {
      needles.set(`${name}, in base64`, Buffer.from(secret).toString('base64').replace(/=+$/, ''));
    }
  }

  async function provokeErrors(): Promise<void> {
    await fleet.admin.call('POST', '/api/v1/servers', {
      name: 'broken',
      region: 'eu',
      url: 'postgres://someone:canary-password-1@127.0.0.1:1/postgres',
    });
    needles.set("password of a server that can't be reached", 'canary-password-1');
    const deletion = await fleet.admin.call('DELETE', '/api/v1/tenants/leaky?confirm=leaky');
    await fleet.finished(operationIdOf(deletion.headers));
  }

  const assertClean = (where: string, text: string): void => {
    assert.ok(text.length > 0, `${where} is empty: nothing was searched`);
    for (const [name, secret] of needles) assert.ok(!text.includes(secret), `${where} holds the ${name}`);
  };

  it('are in no log line, at the finest level', () => assertClean('the log', logged));

  it('are in no table of the registry in plain form', async () => {
    const { rows } = await fleet.registry.query<{ schema: string; name: string }>(
      "SELECT table_schema AS schema, table_name AS name FROM information_schema.tables WHERE table_schema IN ('public', 'graphile_worker') AND table_type = 'BASE TABLE'",
    );
    let dump = '';
    for (const table of rows) {
      const content = await fleet.registry.query<{ text: string | null }>(
        `SELECT string_agg(t::text, E'\\n') AS text FROM ${quoteIdent(table.schema)}.${quoteIdent(table.name)} t`,
      );
      dump += content.rows[0]?.text ?? '';
    }
    assertClean('the registry', dump);
  });

  it("are in no server's log, though every statement is logged", () => {
    for (const name of ['registry', 'eu', 'us']) {
      const log = readFileSync(join(clustersFolder(), name, 'data', 'log', 'postgresql.log'), 'utf8');
      assert.match(log, /LOG: {2}(statement|execute)/);
      assertClean(`the log of ${name}`, log);
    }
  });

  it('are in no answer of the API', async () => {
    const paths = [
      'tenants?includeDeleted=true',
      'servers',
      'secrets',
      'operations',
      'audit',
      'keys',
      'releases',
      'rollouts',
      'regions',
    ];
    for (const path of paths)
      assertClean(path, JSON.stringify((await fleet.admin.call('GET', `/api/v1/${path}`)).body));
    assertClean('/metrics', String((await fleet.admin.call('GET', '/metrics')).body));
  });

  it("are in no process's arguments", () => {
    const lines = readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry))
      .map((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        } catch {
          // The process ended between the two calls.
          return '';
        }
      });
    assertClean('the list of processes', lines.join('\n'));
  });

  it('lie in files that only their owner can read', async () => {
    const { statSync } = await import('node:fs');
    const files = dataFiles(fleet.config.dataDir);
    for (const file of [files.masterKey, files.adminToken, files.appToken('eu'), files.appToken('us')]) {
      assert.equal(statSync(file).mode & 0o077, 0, file);
    }
  });
});
