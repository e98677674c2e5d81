import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { SecretRotation, SecretVersion } from '../../../contract/secret.ts';
import type { Tenant } from '../../../contract/tenant.ts';
import { dataFiles } from '../../../platform/config.ts';
import { writePrivate } from '../../../platform/files.ts';
import { tokenFrom } from '../../../tenant-app/token-file.ts';
import { fleet as run } from '../../unit/cli/harness.ts';
import { apiClient, callTenant } from '../../support/api.ts';
import { startFleet, type Fleet } from '../../support/fleet.ts';
import { until } from '../../support/until.ts';

describe("rotating a tenant app's own key", function () {
  this.timeout(120_000);
  let server: Fleet;
  let tenant: Tenant;
  let file: string;
  let token: () => string;
  before(async () => {
    server = await startFleet();
    tenant = await server.createTenant('keyed');
    file = dataFiles(server.config.dataDir).appToken('eu');
    token = tokenFrom(file);
    const app = await server.startApp('eu', { token, reports: { everyMs: 200 } });
    await app.routing.whenReady;
  });
  after(() => server.stop());

  it('fails no request: the app takes the new key from its file, and the old one ends', async () => {
    const stopping = new AbortController();
    const failures: string[] = [];
    let requests = 0;
    const client = async (): Promise<void> => {
      while (!stopping.signal.aborted) {
        const { status, body } = await callTenant(
          server.apps.eu?.url ?? '',
          'keyed.eu.localhost',
          ...(['POST', '/api/v1/projects', { name: 'under way' }] as const),
        );
        requests += 1;
        if (status >= 300) failures.push(`${status} ${JSON.stringify(body)}`);
        await wait(5);
      }
    };
    const clients = [client(), client()];
    try {
      const old = token();
      const { code, stdout, stderr } = await run(
        ['key', 'rotate', 'app-eu', '--overlap', '2s', '--token-file', file],
        { env: { FLEET_URL: server.url, FLEET_TOKEN: server.adminToken } },
      );
      assert.equal(code, 0, stderr);
      assert.doesNotMatch(stdout + stderr, /flt_/);
      assert.notEqual(token(), old);
      const path = '/api/v1/regions/eu/routes';
      assert.equal((await apiClient(server.url, old).call('GET', path)).status, 200);
      await until(
        'the old key is refused',
        async () => (await apiClient(server.url, old).call('GET', path)).status === 401,
      );
      // What the app can only know by the new key: a credential, and that the one before may be closed.
      const started = await server.admin.ok<SecretRotation>(
        'POST',
        `/api/v1/secrets/${tenant.slug}/rotate`,
        {},
      );
      assert.equal((await server.finished(started.operation)).state, 'succeeded');
      await until('the old login is closed', async () => {
        const { items } = await server.admin.ok<{ items: SecretVersion[] }>(
          'GET',
          `/api/v1/secrets/${tenant.slug}`,
        );
        return items.every(({ stage }) => stage !== 'previous');
      });
    } finally {
      stopping.abort();
      await Promise.all(clients);
    }
    assert.deepEqual(failures, []);
    assert.ok(requests > 20, String(requests));
  });

  it('is read anew when its file is replaced, and kept while there is none', () => {
    const other = join(server.config.dataDir, 'other.token');
    writePrivate(other, 'one\n');
    const read = tokenFrom(other);
    assert.equal(read(), 'one');
    writePrivate(other, 'two\n');
    assert.equal(read(), 'two');
    renameSync(other, `${other}.away`);
    assert.equal(read(), 'two');
    writePrivate(other, 'six\n');
    assert.equal(read(), 'six');
    assert.throws(() => tokenFrom(join(server.config.dataDir, 'nowhere')), { code: 'ENOENT' });
  });
});
