/**
 * A tenant app's routing alone, in a process of its own: prints how long loading the routes took and what they
 * weigh, as one JSON line, then answers requests.
 */
import express from 'express';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createLogger } from '../../platform/logging.ts';
import { tenantRouting } from '../../tenant-app/routing/tenant-routing.ts';

export interface Loaded {
  url: string;
  routes: number;
  loadMs: number;
  /** MB that the process grew by: in its heap after a collection, and in all at its highest. */
  heapMb: number;
  peakMb: number;
}

const BYTES_PER_MB = 1024 * 1024;
const { BENCH_CONTROL_PLANE, BENCH_TOKEN } = process.env;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

collect();
const heapBefore = process.memoryUsage().heapUsed;
const rssBefore = process.memoryUsage.rss();
const startedAt = performance.now();
const routing = tenantRouting({
  region: 'eu',
  controlPlaneUrl: BENCH_CONTROL_PLANE ?? '',
  token: BENCH_TOKEN ?? '',
  logger: createLogger('bench', 'warn'),
});
await routing.whenReady;
const loadMs = performance.now() - startedAt;
const peak = process.resourceUsage().maxRSS * 1024;
// The last references to the snapshot go with the turn that loaded it.
await new Promise((resolve) => setImmediate(resolve));
collect();

const app = express();
app.use(routing.middleware);
const server = app.listen(0, '127.0.0.1', () => {
  const loaded: Loaded = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    routes: routing.stats().routes,
    loadMs,
    heapMb: (process.memoryUsage().heapUsed - heapBefore) / BYTES_PER_MB,
    peakMb: (peak - rssBefore) / BYTES_PER_MB,
  };
  process.stdout.write(`${JSON.stringify(loaded)}\n`);
});
