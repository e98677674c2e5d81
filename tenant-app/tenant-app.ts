import express from 'express';
import { createServer, type Server } from 'node:http';
import { equalInConstantTime } from '../platform/crypto.ts';
import { FleetError } from '../platform/errors.ts';
import { listen } from '../platform/listen.ts';
import type { Logger } from '../platform/logging.ts';
import { productVersion } from '../platform/project.ts';
import { createAccessLog, type AccessLog } from './access-log.ts';
import { endpoint } from './api/endpoint.ts';
import { projectsRouter } from './api/projects.ts';
import { tasksRouter } from './api/tasks.ts';
import { whoami } from './api/whoami.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import type { AwsSecretStore } from './routing/aws-credentials.ts';
import type { Token } from './routing/control-plane.ts';
import { problemHandler } from './routing/problem.ts';
import type { ReportTimes } from './routing/reporter.ts';
import type { AcceptedSchema } from './routing/schema-range.ts';
import { tenantRouting, tokenOf, type RoutingLimits, type TenantRouting } from './routing/tenant-routing.ts';

export interface TenantAppOptions {
  region: string;
  controlPlaneUrl: string;
  /** The region's app key; as a function where it may be another one later (token-file.ts). */
  token: string | Token;
  /** 0 = any free port. */
  port: number;
  /** Loopback by default: a proxy stands in front of it. */
  host?: string;
  logger: Logger;
  /** Where credentials are read. By default the control plane hands them out. */
  secretStore?: AwsSecretStore;
  /** Where the line of each request goes, standard error by default; none is written below level `info`. */
  accessLogTo?: { write(text: string): unknown };
  trustedProxies?: string[];
  limits?: Partial<RoutingLimits>;
  /** Another version and range than the product's own, in tests. */
  appVersion?: string;
  acceptsSchema?: AcceptedSchema;
  reports?: ReportTimes;
}

/** The last migration whose objects the handlers use: without its table no change can be made. */
const NEEDS_SCHEMA = '0002_idempotency_keys';

export interface TenantApp {
  url: string;
  port: number;
  routing: TenantRouting;
  /** Stops listening, lets requests in hand finish (10 s at most), closes all connections. */
  stop(): Promise<void>;
}

/** 10 s: a statement may take that long; what is still running then is cut off. */
const STOP_GRACE_MS = 10_000;

/** Listens at once; requests are answered with 503 until the routes are loaded (`/readyz` tells). */
export async function startTenantApp(options: TenantAppOptions): Promise<TenantApp> {
  const accessLog = options.logger.isInfoEnabled()
    ? createAccessLog(options.accessLogTo ?? process.stderr, 'tenant-app')
    : undefined;
  const routing = tenantRouting({
    appVersion: productVersion(),
    acceptsSchema: { min: NEEDS_SCHEMA },
    ...options,
    onRequest: (record) => {
      metrics.observe(record);
      accessLog?.write(record);
    },
  });
  const metrics = createMetrics(options.region, routing.stats);
  const server = createServer(createApp(options, routing, metrics));
  try {
    const port = await listen(server, {
      host: options.host ?? '127.0.0.1',
      port: options.port,
      variable: 'FLEET_APP_PORT',
    });
    const stop = (): Promise<void> => stopApp(server, routing, accessLog);
    return { url: `http://${urlHost(options.host ?? '127.0.0.1')}:${port}`, port, routing, stop };
  } catch (error) {
    await routing.stop();
    throw error;
  }
}

function createApp(options: TenantAppOptions, routing: TenantRouting, metrics: Metrics): express.Express {
  const { logger } = options;
  const token = tokenOf(options.token);
  const app = express();
  app.disable('x-powered-by');
  // Our ETags are versions; hashing every body would only cost.
  app.disable('etag');
  endpoint(app, '/healthz', { get: (_request, response) => void response.json({ status: 'ok' }) });
  endpoint(app, '/readyz', {
    get: (_request, response) => {
      const problems = routing.ready() ? [] : ['the route table is not loaded'];
      response.status(problems.length === 0 ? 200 : 503).json({ ready: problems.length === 0, problems });
    },
  });
  endpoint(app, '/metrics', {
    get: async (request, response) => {
      const isOperator = equalInConstantTime(request.get('authorization') ?? '', `Bearer ${token()}`);
      response.type(metrics.contentType).send(await metrics.render(isOperator ? 'operator' : 'anyone'));
    },
  });
  app.use(routing.middleware);
  endpoint(app, '/api/v1/whoami', { get: whoami });
  app.use('/api/v1/projects/:projectId/tasks', tasksRouter());
  app.use('/api/v1/projects', projectsRouter());
  app.use(refusePath);
  app.use(problemHandler(logger));
  return app;
}

function refusePath(): never {
  throw new FleetError({
    code: 'not_found',
    status: 404,
    message: 'there is nothing at this path',
    fix: 'use /api/v1/whoami, /api/v1/projects or /api/v1/projects/{id}/tasks',
  });
}

function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

async function stopApp(
  server: Server,
  routing: TenantRouting,
  accessLog: AccessLog | undefined,
): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeIdleConnections();
  const cutOff = setTimeout(() => server.closeAllConnections(), STOP_GRACE_MS);
  await closed;
  clearTimeout(cutOff);
  await routing.stop();
  accessLog?.flush();
}
