import { z } from 'zod';
import { requireAwsRegions, SecretStoreSettings } from '../platform/config.ts';
import { FleetError, summarizeError } from '../platform/errors.ts';
import { createLogger } from '../platform/logging.ts';
import { startTenantApp } from './tenant-app.ts';
import { tokenFrom } from './token-file.ts';

const Environment = z
  .object({
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
    /** As the control plane has it; with `aws` FLEET_AWS_REGIONS says where in AWS this region is. */
    ...SecretStoreSettings,
    /** Connections to databases, in all and to one server. */
    FLEET_APP_CONNECTIONS: z.coerce.number().int().min(1).default(240),
    FLEET_LOG_LEVEL: z.enum(['error', 'warn', 'info', 'debug', 'silent']).default('info'),
  })
  .superRefine((values, context) => requireAwsRegions(values, [values.FLEET_REGION], context));

/** @throws FleetError `bad_configuration`, naming each variable that is wrong. */
function readEnvironment(env: NodeJS.ProcessEnv): z.infer<typeof Environment> {
  const parsed = Environment.safeParse(env);
  if (parsed.success) return parsed.data;
  throw new FleetError({
    code: 'bad_configuration',
    status: 400,
    message: 'the environment holds values that cannot be used',
    errors: parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message })),
    fix: 'correct or set the variables named',
  });
}

async function main(): Promise<void> {
  const env = readEnvironment(process.env);
  const logger = createLogger('tenant-app', env.FLEET_LOG_LEVEL);
  const awsRegion = env.FLEET_AWS_REGIONS[env.FLEET_REGION];
  const isOnAws = env.FLEET_SECRET_STORE === 'aws' && awsRegion !== undefined;
  const app = await startTenantApp({
    region: env.FLEET_REGION,
    controlPlaneUrl: env.FLEET_URL,
    token: tokenFrom(env.FLEET_TOKEN_FILE),
    port: env.FLEET_APP_PORT,
    host: env.FLEET_APP_HOST,
    logger,
    ...(isOnAws ? { secretStore: { awsRegion } } : {}),
    trustedProxies: env.FLEET_APP_TRUSTED_PROXIES,
    limits: { connections: env.FLEET_APP_CONNECTIONS, connectionsPerServer: env.FLEET_APP_CONNECTIONS },
  });
  logger.info('the tenant app listens', { url: app.url, region: env.FLEET_REGION });
  // One line for the program that started this one: with port 0 nobody else knows the address. Not before the
  // routes are there; with the control plane down, probes find it at its port and /readyz says why.
  void app.routing.whenReady.then(() => {
    process.stdout.write(`${JSON.stringify({ ready: true, url: app.url })}\n`);
  });
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
  const errors = error instanceof FleetError ? error.errors : undefined;
  process.stderr.write(`${JSON.stringify({ level: 'error', ...summarizeError(error), errors })}\n`);
  process.exitCode = 1;
});
