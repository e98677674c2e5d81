import assert from 'node:assert/strict';
import type { Tenant } from '../../contract/tenant.ts';
import { DEFAULT_LIMITS } from '../../tenant-app/routing/tenant-routing.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { callTenant } from '../support/api.ts';
import { clusters } from '../support/clusters.ts';
import { withClient } from '../../platform/pg.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { seededRandom } from '../support/random.ts';

const TENANTS = 50;
const REQUESTS = 1_000;
const AT_ONCE = 20;
const SEED = 20_261_121;

interface Project {
  id: string;
  name: string;
}

describe('isolation of tenants under load', function () {
  this.timeout(180_000);
  let fleet: Fleet;
  let tenants: Tenant[];

  before(async () => {
    fleet = await startFleet();
    await fleet.startApp('eu');
    const slugs = Array.from({ length: TENANTS }, (_, index) => `load-${String(index).padStart(2, '0')}`);
    tenants = await eachAtOnce(slugs, 8, (slug) => fleet.createTenant(slug));
  });
  after(() => fleet.stop());

  const ask = <T>(tenant: Tenant, method: string, path: string, body?: unknown) =>
    callTenant<T>(fleet.apps.eu?.url ?? '', `${tenant.slug}.eu.localhost`, method, path, body);

  it('answers 1,000 requests over 50 tenants, each from its own database', async () => {
    const random = seededRandom(SEED);
    const plan = Array.from({ length: REQUESTS }, (_, index) => ({
      index,
      tenant: tenants[Math.floor(random() * tenants.length)] as Tenant,
    }));
    let most = 0;
    await eachAtOnce(plan, AT_ONCE, async ({ index, tenant }) => {
      const name = `${tenant.slug} writes ${index}`;
      const made = await ask<Project>(tenant, 'POST', '/api/v1/projects', { name });
      assert.equal(made.status, 201, JSON.stringify(made.body));
      const read = await ask<Project>(tenant, 'GET', `/api/v1/projects/${made.body.id}`);
      assert.equal(read.body.name, name);
      if (index % 100 === 0) most = Math.max(most, await connectionsOfTenants());
    });
    for (const tenant of tenants) {
      const names = await allProjects(tenant);
      assert.deepEqual(
        names.filter((name) => !name.startsWith(`${tenant.slug} `)),
        [],
      );
      assert.equal(names.length, plan.filter((request) => request.tenant === tenant).length);
    }
    const budget = DEFAULT_LIMITS.connections;
    assert.ok(most > 0 && most <= budget, `${most} connections, budget ${budget}`);
  });

  it('reuses no dirty connection after 2,000 requests that clients abort at random times', async () => {
    const random = seededRandom(SEED + 1);
    const some = tenants.slice(0, 20);
    const app = fleet.apps.eu?.url ?? '';
    await eachAtOnce(
      Array.from({ length: 2_000 }, (_, index) => index),
      40,
      async (index) => {
        const tenant = some[Math.floor(random() * some.length)] as Tenant;
        const abortAfterMs = random() * 12;
        await abortedRequest(
          app,
          `${tenant.slug}.eu.localhost`,
          { name: `${tenant.slug} aborted ${index}` },
          abortAfterMs,
        );
      },
    );
    for (const tenant of some) {
      const names = await allProjects(tenant);
      assert.deepEqual(
        names.filter((name) => !name.startsWith(`${tenant.slug} `)),
        [],
      );
    }
    const stuck = await withClient(clusters().eu.superuser, { applicationName: 'test' }, (client) =>
      client.query(
        "SELECT 1 FROM pg_stat_activity WHERE datname LIKE 't\\_%' AND state LIKE 'idle in transaction%'",
      ),
    );
    assert.equal(stuck.rows.length, 0);
    assert.ok((await connectionsOfTenants()) <= DEFAULT_LIMITS.connections);
  });

  async function allProjects(tenant: Tenant): Promise<string[]> {
    const names: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: { status: number; body: { items: Project[]; nextCursor: string | null } } = await ask(
        tenant,
        'GET',
        `/api/v1/projects?limit=100${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
      );
      assert.equal(page.status, 200);
      names.push(...page.body.items.map((project) => project.name));
      cursor = page.body.nextCursor;
    }
    return names;
  }

  async function connectionsOfTenants(): Promise<number> {
    const { rows } = await withClient(clusters().eu.superuser, { applicationName: 'test' }, (client) =>
      client.query<{ count: string }>(
        "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 't\\_%' AND usename LIKE 't\\_%\\_a'",
      ),
    );
    return Number(rows[0]?.count);
  }
});

/** Sends a write and hangs up after a while; whether it came through is the server's business. */
async function abortedRequest(app: string, host: string, body: object, afterMs: number): Promise<void> {
  const { request } = await import('node:http');
  await new Promise<void>((resolve) => {
    const outgoing = request(`${app}/api/v1/projects`, {
      method: 'POST',
      headers: { host, 'content-type': 'application/json' },
    });
    outgoing.on('error', () => resolve());
    outgoing.on('response', (incoming) => {
      incoming.resume();
      incoming.on('close', resolve);
    });
    outgoing.end(JSON.stringify(body));
    setTimeout(() => outgoing.destroy(), afterMs);
  });
}
