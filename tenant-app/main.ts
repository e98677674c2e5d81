import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { summarizeError } from '../platform/errors.ts';
import { createLogger } from '../platform/logging.ts';
import { startTenantApp } from './tenant-app.ts';

const Environment = z.object({
  FLEET_URL: z.url().default('http://127.0.0.1:4600'),
  FLEET_TOKEN_FILE: z.string().min(1),
  FLEET_REGION: z.string().min(1),
  FLEET_APP_PORT: z.coerce.number().int().min(0).max(65_535).default(4700),
  FLEET_APP_HOST: z.string().default('127.0.0.1'),
  /** Addresses or CIDR blocks, separated by commas. */
  FLEET_APP_TRUSTED_PROXIES: z
    .string()
    .default('')
    .transform((list) =>
      list
        .split(',')
        .map((proxy) => proxy.trim())
        .filter((proxy) => proxy !== ''),
    ),
  /** Connections to databases, in all and to one server. */
  FLEET_APP_CONNECTIONS: z.coerce.number().int().min(1).default(240),
  FLEET_LOG_LEVEL: z.enum(['error', 'warn', 'info', 'debug', 'silent']).default('info'),
});

async function main(): Promise<void> {
  const env = Environment.parse(process.env);
  const logger = createLogger('tenant-app', env.FLEET_LOG_LEVEL);
  const app = await startTenantApp({
    region: env.FLEET_REGION,
    controlPlaneUrl: env.FLEET_URL,
    token: readFileSync(env.FLEET_TOKEN_FILE, 'utf8').trim(),
    port: env.FLEET_APP_PORT,
    host: env.FLEET_APP_HOST,
    logger,
    trustedProxies: env.FLEET_APP_TRUSTED_PROXIES,
    limits: { connections: env.FLEET_APP_CONNECTIONS, connectionsPerServer: env.FLEET_APP_CONNECTIONS },
  });
  logger.info('the tenant app listens', { url: app.url, region: env.FLEET_REGION });
  // One line for the program that started this one: with port 0 nobody else knows the address.
  process.stdout.write(`${JSON.stringify({ url: app.url, port: app.port, pid: process.pid })}\n`);
  const stop = (): void => {
    app.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error('the tenant app did not stop cleanly', { error });
        process.exit(1);
      },
    );
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

main().catch((error: unknown) => {
  process.stderr.write(`${JSON.stringify({ level: 'error', ...summarizeError(error) })}\n`);
  process.exitCode = 1;
});
