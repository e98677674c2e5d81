/**
 * The server under load, in a process of its own. `floor`: express and one `pg` pool. `routed`: the same
 * handler behind the routing middleware. Settings come by environment, the password among them.
 */
import express, { type Express } from 'express';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { createLogger } from '../../platform/logging.ts';
import type { Queryable } from '../../platform/pg.ts';
import { tenantRouting } from '../../tenant-app/routing/tenant-routing.ts';

const SQL = 'SELECT id, name, created_at FROM projects ORDER BY created_at, id LIMIT 20';

async function handle(db: Queryable, response: express.Response): Promise<void> {
  const { rows } = await db.query(SQL);
  response.json({ items: rows });
}

function floorApp(connectionString: string): Express {
  const pool = new pg.Pool({ connectionString });
  const app = plainApp();
  app.get('/projects', (_request, response) => handle(pool, response));
  return app;
}

async function routedApp(region: string, controlPlaneUrl: string, token: string): Promise<Express> {
  const routing = tenantRouting({ region, controlPlaneUrl, token, logger: createLogger('bench', 'warn') });
  await routing.whenReady;
  const app = plainApp();
  app.use(routing.middleware);
  app.get('/projects', (request, response) => handle(request.tenant, response));
  return app;
}

function plainApp(): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  return app;
}

const { BENCH_DATABASE_URL, BENCH_REGION, BENCH_CONTROL_PLANE, BENCH_TOKEN } = process.env;
const app =
  BENCH_DATABASE_URL === undefined
    ? await routedApp(BENCH_REGION ?? '', BENCH_CONTROL_PLANE ?? '', BENCH_TOKEN ?? '')
    : floorApp(BENCH_DATABASE_URL);
const server = app.listen(0, '127.0.0.1', () => {
  process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
});
