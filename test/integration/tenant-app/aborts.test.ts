import assert from 'node:assert/strict';
import type { Express } from 'express';
import { request as httpRequest } from 'node:http';
import { callTenant } from '../../support/api.ts';
import { seededRandom } from '../../support/random.ts';
import { until } from '../../support/until.ts';
import {
  onServer,
  serveRouted,
  startMiniFleet,
  type MiniFleet,
  type RoutedApp,
  type TestTenant,
} from './mini-fleet.ts';

const SEED = 4_711;
const REQUESTS = 400;

describe('requests that end early', () => {
  let fleet: MiniFleet;
  let tenants: TestTenant[];
  let routed: RoutedApp;
  /** What handlers met that must never be: state of another request, or another tenant's database. */
  const foreign: string[] = [];

  before(async () => {
    fleet = await startMiniFleet();
    tenants = [];
    for (let index = 0; index < 6; index += 1) tenants.push(await fleet.addTenant(`abort-${index}`));
    routed = await serveRouted(fleet, { requestMs: 1_000, statementTimeoutMs: 5_000 }, messyHandlers);
  });
  after(async () => {
    await routed.stop();
    await fleet.stop();
  });

  /** Handlers that leave a mess behind on purpose, and look for that of others. */
  function messyHandlers(app: Express): void {
    app.get('/mess', async (request, response) => {
      const { slug } = request.tenant;
      await request.tenant.transaction(async (tx) => {
        const { rows } = await tx.query<{ name: string; mark: string | null; database: string }>(
          "SELECT current_setting('app.mark', true) AS name, current_database() AS database",
        );
        if (rows[0]?.name) foreign.push(`${slug} found ${rows[0].name}`);
        if (rows[0]?.database !== databaseOf(slug)) foreign.push(`${slug} in ${rows[0]?.database}`);
        await tx.query("SELECT set_config('app.mark', $1, true)", [slug]);
        await tx.query('SELECT pg_sleep($1)', [0.02]);
        await tx.query('INSERT INTO projects (name) VALUES ($1)', [slug]);
      });
      response.json({ slug });
    });
    app.get('/sleep', async (request, response) => {
      await request.tenant.query('SELECT pg_sleep(30)');
      response.json({});
    });
    app.get('/begin', async (request, response) => {
      await request.tenant.query('BEGIN');
      response.json({});
    });
    app.get('/fails', async (request, response) => {
      await request.tenant.query('BEGIN; SELECT 1/0');
      response.json({});
    });
    app.get('/state', async (request, response) => {
      const { rows } = await request.tenant.query(
        'SELECT pg_current_xact_id_if_assigned() AS id, now() = statement_timestamp() AS fresh',
      );
      response.json(rows[0]);
    });
  }

  const databaseOf = (slug: string) => tenants.find((tenant) => tenant.slug === slug)?.database;

  /** Sends a request and cuts it off after `delayMs`; answers whether it was complete before. */
  function abortAfter(host: string, path: string, delayMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const outgoing = httpRequest(
        `${routed.url}${path}`,
        { headers: { host }, agent: false },
        (incoming) => {
          incoming.resume();
          incoming.on('end', () => resolve(true));
        },
      );
      outgoing.on('error', () => resolve(false));
      const cut = setTimeout(() => outgoing.destroy(), delayMs);
      outgoing.on('close', () => {
        clearTimeout(cut);
        resolve(false);
      });
      outgoing.end();
    });
  }

  const backends = async (): Promise<number> => {
    const rows = await onServer(
      'eu',
      "SELECT 1 FROM pg_stat_activity WHERE application_name = 'fleet-app' AND datname = ANY ($1)",
      [tenants.map(({ database }) => database)],
    );
    return rows.length;
  };

  it(`leave no trace: ${REQUESTS} requests cut off at random times (seed ${SEED})`, async () => {
    const random = seededRandom(SEED);
    let complete = 0;
    const worker = async (): Promise<void> => {
      for (let turn = 0; turn < REQUESTS / 10; turn += 1) {
        const tenant = tenants[Math.floor(random() * tenants.length)];
        // A third may finish, so that there are used connections to be met by others.
        const delayMs = random() < 0.33 ? 30_000 : random() * 100;
        if (await abortAfter(tenant?.host ?? '', '/mess', delayMs)) complete += 1;
      }
    };
    await Promise.all(Array.from({ length: 10 }, worker));
    assert.deepEqual(foreign, []);
    assert.ok(complete > 0 && complete < REQUESTS, `${complete} of ${REQUESTS} were complete`);
    await until('nothing is busy', async () => routed.routing.stats().busy === 0);
    await until(
      'the server has let go of what was destroyed',
      async () => (await backends()) === routed.routing.stats().connections,
    );
    for (const tenant of tenants) {
      const rows = await callTenant<{ id: null; fresh: boolean }>(routed.url, tenant.host, 'GET', '/state');
      assert.deepEqual(rows.body, { id: null, fresh: true });
    }
  });

  it('end their query on the server when the client leaves', async () => {
    const host = tenants[0]?.host ?? '';
    await abortAfter(host, '/sleep', 200);
    await until(
      'the sleeping session is gone',
      async () => {
        const rows = await onServer(
          'eu',
          "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid() AND state = 'active'",
        );
        return rows.length === 0;
      },
      3_000,
    );
    await until('nothing is busy', async () => routed.routing.stats().busy === 0);
  });

  it('are cut off at their deadline, with an answer', async () => {
    const answer = await callTenant<{ code: string }>(routed.url, tenants[1]?.host ?? '', 'GET', '/sleep');
    assert.equal(answer.status, 503);
    assert.equal(answer.body.code, 'deadline_exceeded');
  });

  it('never hand on an open transaction, even one that a handler forgot', async () => {
    const host = tenants[2]?.host ?? '';
    for (const [path, status] of [
      ['/begin', 200],
      ['/fails', 500],
    ] as const) {
      assert.equal((await callTenant(routed.url, host, 'GET', path)).status, status);
      for (let turn = 0; turn < 4; turn += 1) {
        const state = await callTenant<{ fresh: boolean }>(routed.url, host, 'GET', '/state');
        assert.equal(state.status, 200);
        assert.equal(state.body.fresh, true);
      }
    }
  });

  it('are bounded per tenant, and leave other tenants alone', async () => {
    const narrow = await serveRouted(fleet, { requestsPerTenant: 3 }, (app) => {
      app.get('/', async (request, response) => {
        await request.tenant.query('SELECT pg_sleep(0.3)');
        response.json({});
      });
    });
    const [noisy = '', quiet = ''] = [tenants[3]?.host, tenants[4]?.host];
    const answers = await Promise.all([
      ...Array.from({ length: 8 }, () => callTenant(narrow.url, noisy, 'GET', '/')),
      callTenant(narrow.url, quiet, 'GET', '/'),
    ]);
    assert.deepEqual(answers.map((a) => a.status).sort(), [200, 200, 200, 200, 429, 429, 429, 429, 429]);
    assert.equal(answers[8]?.status, 200);
    assert.equal(answers.find((a) => a.status === 429)?.headers['retry-after'], '1');
    await narrow.stop();
  });
});
