import assert from 'node:assert/strict';
import type { Express } from 'express';
import { callTenant } from '../../support/api.ts';
import { serveRouted, startMiniFleet, type MiniFleet, type RoutedApp } from './mini-fleet.ts';

describe('careless handlers', () => {
  let fleet: MiniFleet;
  let routed: RoutedApp;

  before(async () => {
    fleet = await startMiniFleet();
    await fleet.addTenant('careless');
    routed = await serveRouted(fleet, { connectionsPerTenant: 1 }, carelessHandlers);
  });
  after(async () => {
    await routed.stop();
    await fleet.stop();
  });

  function carelessHandlers(app: Express): void {
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
  }

  const call = <T>(method: string, path: string) =>
    callTenant<T>(routed.url, 'careless.eu.localhost', method, path);

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
