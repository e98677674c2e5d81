#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { loadConfig } from '../platform/config.ts';
import { FleetError } from '../platform/errors.ts';
import { createLogger, redactText } from '../platform/logging.ts';
import { startControlPlane } from './control-plane.ts';

const USAGE = 'usage: flotilla [--role api|worker|all]\n';

try {
  const { values } = parseArgs({
    options: { role: { type: 'string', default: 'all' }, help: { type: 'boolean' } },
  });
  const role = values.role;
  if (values.help === true || (role !== 'api' && role !== 'worker' && role !== 'all')) {
    process.stderr.write(USAGE);
    process.exit(values.help === true ? 0 : 2);
  }
  const config = loadConfig(process.env);
  const logger = createLogger('control-plane', config.logLevel);
  const controlPlane = await startControlPlane({ config, role, logger });
  process.stdout.write(`${JSON.stringify({ ready: true, url: controlPlane.url ?? null })}\n`);

  let stopping = false;
  const stop = (signal: string): void => {
    if (stopping) return;
    stopping = true;
    logger.info('stopping', { signal });
    controlPlane.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error('could not stop cleanly', { error });
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  process.on('unhandledRejection', (error) => {
    // State is in the registry; a process in an unknown state is worse than a restart.
    logger.error('unhandled rejection', { error });
    process.exit(1);
  });
} catch (error) {
  const known = error instanceof FleetError;
  const fix = known && error.fix !== undefined ? `\n  fix: ${error.fix}` : '';
  const details = known
    ? (error.errors ?? []).map((item) => `\n  ${item.path}: ${item.message}`).join('')
    : '';
  const text = known ? `${error.code}: ${error.message}${details}${fix}` : String(error);
  process.stderr.write(`flotilla: ${redactText(text)}\n`);
  process.exit(1);
}
