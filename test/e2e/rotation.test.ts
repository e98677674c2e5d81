import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import type { SecretRotation, SecretVersion } from '../../contract/secret.ts';
import type { Tenant } from '../../contract/tenant.ts';
import { sqlState } from '../../platform/errors.ts';
import { withClient, type PgAddress } from '../../platform/pg.ts';
import { callTenant } from '../support/api.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { handedOut } from '../support/handed-out.ts';
import { until } from '../support/until.ts';

const TENANTS = 6;
/** Of a credential that is none any more: no such password, or a login that may not log in. */
const REFUSALS = new Set(['28P01', '28000']);

describe('rotating a credential', function () {
  this.timeout(120_000);
  let fleet: Fleet;
  let tenants: Tenant[];

  before(async () => {
    fleet = await startFleet();
    const reports = { everyMs: 200 };
    await fleet.startApp('eu', { reports });
    await fleet.startApp('us', { reports });
    const numbers = Array.from({ length: TENANTS }, (_, index) => index);
    tenants = await eachAtOnce(numbers, 4, (index) =>
      fleet.createTenant(`turn-${index}`, index % 3 === 2 ? 'us' : 'eu'),
    );
  });
  after(() => fleet.stop());

  const ask = (tenant: Tenant, method: string, path: string, body?: unknown) =>
    callTenant(
      fleet.apps[tenant.region]?.url ?? '',
      `${tenant.slug}.${tenant.region}.localhost`,
      method,
      path,
      body,
    );
  const rotate = (slug: string, body: object = {}) =>
    fleet.admin.call<SecretRotation>('POST', `/api/v1/secrets/${slug}/rotate`, body);
  const versions = async (slug: string): Promise<SecretVersion[]> =>
    (await fleet.admin.ok<{ items: SecretVersion[] }>('GET', `/api/v1/secrets/${slug}`)).items;
  const stages = async (slug: string): Promise<string[]> => (await versions(slug)).map(({ stage }) => stage);

  const credential = async ({ id }: Tenant): Promise<PgAddress> =>
    (await handedOut(fleet.controlPlane.deps, id)).address;
  const mayEnter = (address: PgAddress): Promise<boolean> =>
    withClient(address, { applicationName: 'test' }, (client) => client.query('SELECT 1')).then(
      () => true,
      (error: unknown) => {
        assert.ok(REFUSALS.has(sqlState(error) ?? ''), String(error));
        return false;
      },
    );
  async function rotated(slug: string, body?: object): Promise<void> {
    const answer = await rotate(slug, body);
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    const operation = await fleet.finished(answer.body.operation);
    assert.equal(operation.state, 'succeeded', JSON.stringify(operation.error));
  }

  it('fails no request, and closes the old login when every app has taken over the new one', async () => {
    const stopping = new AbortController();
    const failures: string[] = [];
    let requests = 0;
    const client = async (tenant: Tenant): Promise<void> => {
      while (!stopping.signal.aborted) {
        const [read, written] = await Promise.all([
          ask(tenant, 'GET', '/api/v1/projects?limit=5'),
          ask(tenant, 'POST', '/api/v1/projects', { name: 'under way' }),
        ]);
        requests += 2;
        for (const { status, body } of [read, written]) {
          if (status >= 300) failures.push(`${tenant.slug} ${status} ${JSON.stringify(body)}`);
        }
        await wait(5);
      }
    };
    const clients = tenants.map(client);
    try {
      const before = await Promise.all(tenants.map(credential));
      for (let turn = 0; turn < 2; turn += 1) {
        await Promise.all(tenants.map(({ slug }) => rotated(slug)));
        await until('all old logins are closed', async () => {
          const all = await Promise.all(tenants.map(({ slug }) => stages(slug)));
          return all.every((some) => !some.includes('previous'));
        });
      }
      const after = await Promise.all(tenants.map(credential));
      for (const [index, old] of before.entries()) {
        // Two turns lead back to the first login, with another password.
        assert.equal(after[index]?.user, old.user);
        assert.equal(await mayEnter(old), false);
        assert.equal(await mayEnter(after[index]), true);
      }
    } finally {
      stopping.abort();
      await Promise.all(clients);
    }
    assert.deepEqual(failures, []);
    assert.ok(requests > 100, String(requests));
    const [first] = await versions(tenants[0]?.slug ?? '');
    assert.equal(first?.retiredBecause, 'every app instance has acknowledged the newer version');
  });

  it('is one, asked for twice at once', async () => {
    const slug = tenants[0]?.slug ?? '';
    const [one, other] = await Promise.all([rotate(slug), rotate(slug)]);
    assert.deepEqual([one.status, other.status], [202, 202]);
    assert.equal(one.body.operation, other.body.operation);
    assert.deepEqual([one.body.joined, other.body.joined].sort(), [false, true]);
    await fleet.finished(one.body.operation);
    await until('the old login is closed', async () => !(await stages(slug)).includes('previous'));
  });

  it('waits for an app that cannot say that it has taken over, unless it is revoked at once', async () => {
    const [, tenant] = tenants;
    assert.ok(tenant !== undefined);
    const { slug } = tenant;
    await fleet.registry.query(
      `INSERT INTO app_instances (id, region, version, sequence) VALUES (gen_random_uuid(), 'eu', '1.0.0', 1)`,
    );
    try {
      const old = await credential(tenant);
      await rotated(slug);
      const leaked = await credential(tenant);
      const waiting = (await versions(slug)).find(({ stage }) => stage === 'previous');
      assert.equal(await mayEnter(old), true);
      assert.ok((waiting?.unacknowledged ?? 0) >= 1);
      const again = await rotate(slug);
      assert.equal(again.status, 409);
      assert.equal((again.body as { code?: string }).code, 'previous_in_use');
      await rotated(slug, { now: true, reason: 'it was in a log' });
      await until('the leaked login is closed', async () => !(await stages(slug)).includes('previous'));
      assert.deepEqual([await mayEnter(old), await mayEnter(leaked)], [false, false]);
      assert.equal((await ask(tenant, 'GET', '/api/v1/projects')).status, 200);
      const closed = (await versions(slug)).filter(({ retiredBecause }) => retiredBecause !== null);
      assert.equal(closed.at(-1)?.retiredBecause, 'it was revoked at once');
    } finally {
      await fleet.registry.query("DELETE FROM app_instances WHERE version = '1.0.0' AND sequence = 1");
    }
  });

  it('is refused for a tenant whose logins are closed, and works again afterwards', async () => {
    const slug = tenants[3]?.slug ?? '';
    const change = async (verb: string): Promise<void> => {
      const answer = await fleet.admin.call('POST', `/api/v1/tenants/${slug}/${verb}`, {});
      await fleet.finished(answer.headers.location?.split('/').at(-1) ?? '');
    };
    await change('suspend');
    const refused = await rotate(slug);
    assert.equal(refused.status, 409);
    assert.equal((refused.body as { code?: string }).code, 'wrong_state');
    await change('resume');
    await rotated(slug);
    assert.equal((await ask(tenants[3] as Tenant, 'GET', '/api/v1/whoami')).status, 200);
  });
});
