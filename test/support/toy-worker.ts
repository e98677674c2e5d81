/** A worker process of its own that knows the toy operations; says `ready` and lives until it is killed. */
import { setTimeout as wait } from 'node:timers/promises';
import { createOperationDriver } from '../../control-plane/operations/engine.ts';
import { startWorker } from '../../control-plane/operations/worker.ts';
import { openRegistry } from '../../control-plane/registry/registry.ts';
import { quietLogger } from './registry.ts';
import { toyOperations } from './toy-operation.ts';

const [url, hangAt] = process.argv.slice(2);
if (url === undefined) throw new Error('usage: toy-worker REGISTRY_URL [STEP]');
const registry = openRegistry(url, quietLogger);
await startWorker({
  registry,
  logger: quietLogger,
  drivers: [
    createOperationDriver({
      registry,
      operations: toyOperations({ registry, failures: new Map() }),
      logger: quietLogger,
      probe: async (point) => {
        if (point.step !== hangAt || point.moment !== 'after-effect') return;
        process.stdout.write('hanging\n');
        await wait(3_600_000);
      },
    }),
  ],
});
process.stdout.write('ready\n');
