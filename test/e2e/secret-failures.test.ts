import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Problem } from '../../contract/problem.ts';
import type { RouteCredential } from '../../contract/route.ts';
import type { Tenant } from '../../contract/tenant.ts';
import { dataFiles } from '../../platform/config.ts';
import { apiClient, callTenant, type Api } from '../support/api.ts';
import { operationIdOf, startFleet, type Fleet } from '../support/fleet.ts';
import { until } from '../support/until.ts';

/** What people and apps meet when a stored secret cannot be opened, and that nothing is lost by it. */
describe('a fleet whose secrets cannot be opened', function () {
  this.timeout(90_000);
  let fleet: Fleet;
  let app: Api;

  before(async () => {
    fleet = await startFleet();
    await fleet.startApp('eu');
    app = apiClient(fleet.url, readFileSync(dataFiles(fleet.config.dataDir).appToken('eu'), 'utf8').trim());
  });
  after(() => fleet.stop());

  const credential = async ({ database }: Tenant): Promise<number | string> => {
    const { rows } = await fleet.registry.query<{ id: string }>('SELECT id FROM databases WHERE name = $1', [
      database,
    ]);
    const path = `/api/v1/regions/eu/credentials/${rows[0]?.id ?? ''}`;
    const { status, body } = await app.call<RouteCredential & Problem>('GET', path);
    return status === 200 ? status : body.code;
  };
  const served = async ({ slug }: Tenant): Promise<number> =>
    (await callTenant(fleet.apps.eu?.url ?? '', `${slug}.eu.localhost`, 'GET', '/api/v1/whoami')).status;
  const isServed = (tenant: Tenant): Promise<unknown> =>
    until('the app serves the tenant', async () => (await served(tenant)) === 200 || undefined);
  async function ended(method: string, path: string, body?: unknown) {
    const { headers, status, body: answer } = await fleet.admin.call(method, path, body);
    assert.equal(status, 202, JSON.stringify(answer));
    return fleet.finished(operationIdOf(headers));
  }
  const valueOf = async ({ id }: Tenant): Promise<{ version: string; sealed: Buffer }> => {
    const { rows } = await fleet.registry.query<{ version: string; sealed: Buffer }>(
      `SELECT s.version_id AS version, s.sealed FROM sealed_secrets s JOIN secret_versions v ON v.id = s.version_id
        WHERE v.owner = 'tenant:' || $1 AND v.stage = 'current'`,
      [id],
    );
    if (rows[0] === undefined) throw new Error('there is no value');
    return rows[0];
  };
  const put = (version: string, sealed: Buffer): Promise<unknown> =>
    fleet.registry.query('UPDATE sealed_secrets SET sealed = $2 WHERE version_id = $1', [version, sealed]);

  it('says that a value is cut off, serves the tenant when it is whole again, or rotated', async () => {
    const tenant = await fleet.createTenant('cut-off');
    const { version, sealed } = await valueOf(tenant);
    await put(version, sealed.subarray(0, -3));
    assert.equal(await credential(tenant), 'secret_truncated');
    assert.equal(await served(tenant), 503);
    await put(version, sealed);
    await isServed(tenant);
    await put(version, sealed.subarray(0, -3));
    assert.equal((await ended('POST', '/api/v1/secrets/cut-off/rotate')).state, 'succeeded');
    assert.equal(await credential(tenant), 200);
    await isServed(tenant);
  });

  it("says that a value is another tenant's, and gives it to nobody", async () => {
    const [one, other] = [await fleet.createTenant('swapped-one'), await fleet.createTenant('swapped-other')];
    const [mine, theirs] = [await valueOf(one), await valueOf(other)];
    await put(mine.version, theirs.sealed);
    assert.equal(await credential(one), 'secret_swapped');
    assert.equal(await served(one), 503);
    await isServed(other);
    await put(mine.version, mine.sealed);
    await isServed(one);
  });

  it('says that master.key is another one, makes nothing under it, and goes on when it is back', async () => {
    const tenant = await fleet.createTenant('locked-out');
    const { masterKey } = dataFiles(fleet.config.dataDir);
    const right = readFileSync(masterKey, 'utf8');
    writeFileSync(masterKey, `${randomBytes(32).toString('base64url')}\n`);
    assert.equal(await credential(tenant), 'wrong_master_key');
    assert.equal(await served(tenant), 503);
    const failed = await ended('POST', '/api/v1/tenants', { slug: 'too-early', region: 'eu' });
    assert.deepEqual([failed.state, failed.error?.code], ['failed', 'wrong_master_key']);
    assert.match(failed.error?.fix ?? '', /copy master.key/);
    const refused = await ended('POST', '/api/v1/master-key/rotate');
    assert.deepEqual([refused.state, refused.error?.code], ['failed', 'wrong_master_key']);
    writeFileSync(masterKey, right);
    await isServed(tenant);
    assert.equal((await ended('POST', `/api/v1/operations/${failed.id}/retry`)).state, 'succeeded');
    assert.equal((await ended('POST', `/api/v1/operations/${refused.id}/retry`)).state, 'succeeded');
    assert.notEqual(readFileSync(masterKey, 'utf8'), right);
    await isServed(await fleet.admin.ok<Tenant>('GET', '/api/v1/tenants/too-early'));
  });
});
