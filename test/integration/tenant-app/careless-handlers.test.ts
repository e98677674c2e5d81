import assert from 'node:assert/strict';
import { once } from 'node:events';
import express from 'express';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { problemHandler } from '../../../tenant-app/routing/problem.ts';
import { tenantRouting, type TenantRouting } from '../../../tenant-app/routing/tenant-routing.ts';
import { callTenant } from '../../support/api.ts';
import { quietLogger } from '../../support/registry.ts';
import { startMiniFleet, type MiniFleet } from './mini-fleet.ts';

describe('careless handlers', () => {
  let fleet: MiniFleet;
  let routing: TenantRouting;
  let server: Server;
  let url: string;

  before(async () => {
    fleet = await startMiniFleet();
    await fleet.addTenant('careless');
    routing = tenantRouting({
      region: 'eu',
      controlPlaneUrl: fleet.url,
      token: fleet.tokens.eu ?? '',
      logger: quietLogger,
      limits: { connectionsPerTenant: 1 },
    });
    server = createTestApp().listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await routing.whenReady;
  });
  after(async () => {
    server.close();
    server.closeAllConnections();
    await routing.stop();
    await fleet.stop();
  });

  function createTestApp(): express.Express {
    const app = express();
    app.use(routing.middleware);
    app.post('/swallow', async (request, response) => {
      await request.tenant.transaction(async (tx) => {
        await tx.query("INSERT INTO projects (name) VALUES ('lost')");
        await tx.query('SELECT 1 / 0').catch(() => undefined);
      });
      response.json({ stored: true });
    });
    app.post('/set', async (request, response) => {
      await request.tenant.query('SET search_path = fleet');
      response.json({});
    });
    app.get('/count', async (request, response) => {
      const { rows } = await request.tenant.query<{ count: number }>(
        'SELECT count(*)::int AS count FROM projects',
      );
      response.json(rows[0]);
    });
    app.use(problemHandler(quietLogger));
    return app;
  }

  const call = <T>(method: string, path: string) => callTenant<T>(url, 'careless.eu.localhost', method, path);

  it('get no success for a transaction that PostgreSQL rolled back', async () => {
    const answer = await call<{ code: string }>('POST', '/swallow');
    assert.deepEqual([answer.status, answer.body.code], [500, 'transaction_rolled_back']);
    assert.deepEqual((await call('GET', '/count')).body, { count: 0 });
  });

  it('leave no setting behind for the next request on their connection', async () => {
    assert.equal((await call('POST', '/set')).status, 200);
    assert.deepEqual((await call('GET', '/count')).body, { count: 0 });
  });
});
